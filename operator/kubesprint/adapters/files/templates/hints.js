(function(){
var hint=document.createElement("div");hint.id="hint";document.body.appendChild(hint);
document.querySelectorAll("svg [class] > title").forEach(function(t){
 var e=t.parentNode;if(e.tagName==="svg")return;
 e.setAttribute("aria-label",t.textContent);e.setAttribute("data-hint",t.textContent);e.removeChild(t);
});
function place(ev){
 var e=ev.target.closest&&ev.target.closest("[data-hint]");
 if(!e){hint.style.visibility="hidden";return}
 hint.textContent=e.getAttribute("data-hint");hint.style.visibility="visible";
 var x=ev.clientX+14,y=ev.clientY+16;
 if(x+hint.offsetWidth>innerWidth-8)x=Math.max(8,ev.clientX-hint.offsetWidth-10);
 if(y+hint.offsetHeight>innerHeight-8)y=ev.clientY-hint.offsetHeight-10;
 hint.style.left=x+"px";hint.style.top=y+"px";
}
document.addEventListener("pointermove",place);document.addEventListener("pointerdown",place);
document.querySelectorAll(".together").forEach(function(box){
 var charts=box.querySelectorAll("svg.wide");
 function hide(){charts.forEach(function(s){if(s.cross)s.cross.style.visibility="hidden"})}
 charts.forEach(function(s){
  var v=s.viewBox.baseVal,l=document.createElementNS("http://www.w3.org/2000/svg","line");
  l.setAttribute("class","crosshair");l.setAttribute("y1",0);l.setAttribute("y2",v.height-46);s.appendChild(l);s.cross=l;
 });
 box.addEventListener("pointermove",function(ev){
  var s=ev.target.closest("svg.wide");if(!s)return hide();
  var r=s.getBoundingClientRect(),x=(ev.clientX-r.left)*s.viewBox.baseVal.width/r.width;
  charts.forEach(function(o){o.cross.setAttribute("x1",x);o.cross.setAttribute("x2",x);o.cross.style.visibility="visible"});
 });
 box.addEventListener("pointerleave",hide);
});
})();
