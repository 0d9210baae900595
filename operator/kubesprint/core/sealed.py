"""Text that says what it is and whether it is whole: a schema, a hash, and a body of JSON values.

What we wrote ourselves and read back after a restart is sealed this way. A hash finds damage, not malice.
"""

import hashlib
import json
from typing import Any

from kubesprint.core.errors import Corrupt


def seal(schema: str, body: Any) -> str:
    """The text of a body of JSON values; numbers come back exactly as they are.

    Raises:
        ValueError: a number is not finite, or a value is not of JSON.
    """
    text = json.dumps(body, allow_nan=False, sort_keys=True, separators=(",", ":"))
    digest = hashlib.sha256(text.encode()).hexdigest()
    return f'{{"schema":{json.dumps(schema)},"sha256":"{digest}","body":{text}}}\n'


def unseal(schema: str, text: str) -> Any:
    """The body of a text that `seal` made.

    Raises:
        Corrupt: it is of another schema, or not what was written; the message says which.
    """
    try:
        document = json.loads(text)
        found, digest, body = document["schema"], document["sha256"], document["body"]
        again = json.dumps(body, allow_nan=False, sort_keys=True, separators=(",", ":"))
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise Corrupt(f"not a whole document ({type(error).__name__})") from error
    if found != schema:
        raise Corrupt(f"schema {found!r} is not {schema!r}")
    if digest != hashlib.sha256(again.encode()).hexdigest():
        raise Corrupt("its contents do not have the hash that it names")
    return body
