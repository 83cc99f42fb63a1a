"""Mutations of files: bytes and a generator in, other bytes out.

Each parses what it is given, changes a part and writes all anew; where it cannot parse, because an
earlier mutation broke the file, it changes bytes.
"""

import base64
import io
import json
import math
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from random import Random
from typing import Any

import pyarrow
import yaml
from google.protobuf.message import Message
from pyarrow import parquet

# libyaml's are ten times faster, where PyYAML was built with it
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
Mutation = Callable[[bytes, Random], bytes]

TEXTS = (
    *(
        "",
        " ",
        "\0",
        "\n",
        "a\r\nb",
        "\x1b[2J",
        "\u202e",
        "\ud800",
        "é",
        "😀",
        "٣",
        "no",
        "~",
        "1e5",
    ),
    *("::error::x", "##vso[x]", "{}", "*", "[a-z]*", "[", "<b>", "%s", "-0", "nan", "1_0", "0x10"),
    *("../x", "/dev/null", "/dev/zero", "a/../b", ".", "con\0", "a" * 300, "b" * 100_000),
    *("2026-12-31", "0001-01-01", "9999-12-31", "2026-02-30", "sha256:" + "0" * 64, "*" * 200),
)
NUMBERS: tuple[int | float, ...] = (
    *(0, 1, -1, 2, 7, 255, 65_536, 2**31, 2**32, -(2**31) - 1, 2**63 - 1, 2**63, -(2**63) - 1),
    *(2**64, 10**400, -0.0, 0.5, 1e-320, 1e16, 1e308, -1e308, math.inf, -math.inf, math.nan),
)
OTHERS: tuple[Any, ...] = (None, True, False, [], {}, [[]], [None], {"": None}, {"a": {}})
DEPTHS, COUNTS = (1, 20, 90, 200, 2_000), (2, 10, 300, 3_000)
LONGEST = 300_000  # letters or bytes that something repeated takes


def odd(random: Random) -> Any:
    """A value that few expect."""
    return random.choice(random.choice((TEXTS, NUMBERS, OTHERS)))


def places(tree: Any) -> list[tuple[Any, Any]]:
    """Every dictionary or list of a tree, with each of its keys."""
    found, waiting = [], [tree]
    while waiting:
        node = waiting.pop()
        keys = list(node) if isinstance(node, dict) else range(len(node))
        for key in keys:
            found.append((node, key))
            if isinstance(node[key], dict | list):
                waiting.append(node[key])
    return found


def change(tree: Any, random: Random) -> Any:
    """A tree of dictionaries and lists with one node changed; changed in place where it can be."""
    if not isinstance(tree, dict | list) or not (found := places(tree)):
        return odd(random)
    (node, key), (other, its_key) = random.choice(found), random.choice(found)
    match random.randrange(9):
        case 0:
            del node[key]
        case 1:
            node[key] = odd(random)
        case 2:
            node[key] = near(node[key], random)
        case 3:
            node[key], other[its_key] = other[its_key], copied(node[key])
        case 4:
            node[key] = nested(node[key], random)
        case 5:
            node[key] = [node[key]] * often(node[key], random)
        case 6 if isinstance(node, dict):
            node[random.choice([*TEXTS, str(its_key)])] = node.pop(key)
        case 6:
            node.insert(key, copied(node[key]))
        case 7 if isinstance(node, dict):
            node |= {f"{key}{i}": copied(node[key]) for i in range(often(node[key], random))}
        case 7:
            random.shuffle(node)
        case _ if isinstance(node, dict):
            node[random.choice(TEXTS)] = odd(random)
        case _:
            node.append(odd(random))
    return tree


def often(value: Any, random: Random) -> int:
    """How often something is repeated: the less, the longer it is."""
    return min(random.choice(COUNTS), LONGEST // (len(repr(value)) + 1))


def depth(tree: Any) -> int:
    """How many lists and dictionaries lie in one another."""
    deepest, level = 0, [tree]
    while level := [node for node in level if isinstance(node, dict | list)]:
        level = [
            inner for node in level for inner in (node.values() if isinstance(node, dict) else node)
        ]
        deepest += 1
    return deepest


def copied(value: Any) -> Any:
    return json.loads(json.dumps(value)) if isinstance(value, dict | list) else value


def near(value: Any, random: Random) -> Any:
    """A value of the same type."""
    match value:
        case bool():
            return not value
        case int() | float():
            return random.choice((value + 1, -value, value * 1e3, float(value), *NUMBERS))
        case str():
            place = random.randrange(len(value) + 1)
            return value[:place] + random.choice(TEXTS) + value[place + random.randrange(2) :]
        case list():
            return value[::-1]
        case dict():
            return dict(reversed(value.items()))
    return odd(random)


def nested(value: Any, random: Random) -> Any:
    for _ in range(random.choice(DEPTHS)):
        value = [value] if random.random() < 0.5 else {"a": value}
    return value


def of_bytes(*words: bytes) -> Mutation:
    """Bits, lengths, pieces, and words of a format, wherever they fall."""
    known = (
        *words,
        b"\0",
        b"\xff" * 4,
        b"\r\n",
        b"\t",
        b"\xef\xbb\xbf",
        b"\xed\xa0\x80",
        b"9" * 20,
    )

    def mutate(content: bytes, random: Random) -> bytes:
        start = random.randrange(len(content) + 1)
        end = min(len(content), start + random.choice((1, 4, 16, 64, 1024)))
        before, piece, after = content[:start], content[start:end], content[end:]
        match random.randrange(9):
            case 0:
                return before
            case 1:
                return before + after
            case 2:
                return before + piece * random.choice((2, 3, 100)) + after
            case 3:
                return before + random.choice(known) + piece + after
            case 4:
                return before + random.choice(known) + after
            case 5:
                return before + random.randbytes(len(piece)) + after
            case 6:
                size = random.choice("bhiq")
                number = random.choice(
                    (0, 1, -1, 127, -128, *([2**31 - 1] if size in "iq" else []))
                )
                packed = struct.pack(random.choice("<>") + size, number)
                return before + packed + content[start + len(packed) :]
            case 7:
                there = random.randrange(len(content) + 1)
                return before + content[there : there + len(piece)] + after
        if not piece:
            return content + b"\0"
        return before + bytes([piece[0] ^ (1 << random.randrange(8))]) + piece[1:] + after

    return mutate


_any_bytes = of_bytes()


def or_bytes(mutate: Mutation) -> Mutation:
    """The mutation, and that of bytes where the content is not what it parses."""

    def either(content: bytes, random: Random) -> bytes:
        try:
            return mutate(content, random)
        except Exception:  # whatever parsers raise
            return _any_bytes(content, random)

    return either


@or_bytes
def of_json(content: bytes, random: Random) -> bytes:
    tree = change(json.loads(content), random)
    indent = random.choice((None, 2))
    return json.dumps(tree, indent=indent).encode()


@or_bytes
def of_yaml(content: bytes, random: Random) -> bytes:
    tree = change(yaml.load(content, LOADER), random)  # it is a safe one  # noqa: S506  # either is a safe one
    if random.random() < 0.5:
        return json.dumps(tree).encode()  # which is YAML, too
    return yaml.dump(tree, Dumper=DUMPER, sort_keys=False).encode()


YAML_WORDS = (
    *(b"&a ", b"*a", b"!!binary aGk=", b"!!python/name:os.system ", b"<<: ", b"---\n", b"...\n"),
    *(b"? ", b"- ", b": ", b"|\n", b"> ", b"#", b"'", b'"', b"[", b"{", b"}", b"%YAML 9.9\n---\n"),
    *(b"a: 1\na: 2\n", b"1:30", b"010", b"2026-01-01", b'"\\ud800"', b"\xc2\x85", b"\xe2\x80\xa8"),
)
JSON_WORDS = (
    *(
        b"NaN",
        b"Infinity",
        b"1e999",
        b"-0",
        b'"\\ud800"',
        b'"a":1,"a":2,',
        b"[" * 3_000,
        b"//",
        b",",
    ),
    *(b"9" * 5_000, b"{", b"}", b'"', b"\\", b'{"a":' * 300, b"null", b"true"),
)


def of_envelope(sign: Callable[[bytes], bytes] | None) -> Mutation:
    """The statement inside an envelope: with its old signature, or signed anew."""

    def mutate(content: bytes, random: Random) -> bytes:
        envelope = json.loads(content)
        payload = of_json(base64.b64decode(envelope["payload"]), random)
        if sign:
            return sign(payload)
        envelope["payload"] = base64.b64encode(payload).decode()
        return (json.dumps(envelope, indent=2) + "\n").encode()

    return or_bytes(mutate)


def of_zip(inner: Mutation) -> Mutation:
    """One member of an archive: its content, its name, how often it is there."""

    def mutate(content: bytes, random: Random) -> bytes:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = [(name, archive.read(name)) for name in archive.namelist()]
        index = random.randrange(len(members))
        name, data = members[index]
        match random.randrange(8):
            case 0:
                del members[index]
            case 1:
                members.append((name, inner(data, random)))
            case 2:
                members[index] = near(name, random), data
            case 3:
                members[index] = random.choice(members)[0], data
            case _:
                members[index] = name, inner(data, random)
        written = io.BytesIO()
        method = random.choice((zipfile.ZIP_STORED, zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
        with zipfile.ZipFile(written, "w", method) as archive:
            for name, data in members:
                archive.writestr(zipfile.ZipInfo(name), data)
        return written.getvalue()

    return or_bytes(mutate)


LENGTHS = (0, 1, -1, 3, 10**6, 2**40, 2**63, True)
TYPES = (
    *("|u1", "<i8", ">i4", "<f2", "<f4", ">f8", "<f16", "<c16", "|b1", "|O", "<U3", ">U1", "|S2"),
    *("<U0", "|V4", "<M8[ns]", "<m8[Y]", "<u8", "|S0", "", "x", "<U999999999"),
)


@or_bytes
def of_npy(content: bytes, random: Random) -> bytes:
    """The header of an array, or what follows it."""
    start = 10 if content[6] == 1 else 12
    size = int.from_bytes(content[8:start], "little")
    header, data = content[start : start + size], content[start + size :]
    match random.randrange(6):
        case 0:
            data = of_bytes()(data, random)
        case 1:
            data = data[: random.choice((0, 1, len(data) // 2))]
        case 2:
            header = of_bytes(b"'descr'", b"(", b")", b",", b"L", b"()" * 500)(header, random)
        case _:
            described: dict[str, Any] = eval(header, {"__builtins__": {}})  # noqa: S307  # ours
            described["shape"] = list(described["shape"])
            match random.randrange(4):
                case 0:
                    described["descr"] = random.choice(TYPES)
                case 1:
                    described["fortran_order"] = odd(random)
                case 2 if described["shape"]:
                    place = random.randrange(len(described["shape"]))
                    described["shape"][place] = random.choice(
                        (0, 1, -1, 3, 10**6, 2**40, 2**63, True)
                    )
                case _:
                    change(described, random)
            if isinstance(described.get("shape"), list):
                described["shape"] = tuple(described["shape"])
            header = repr(described).encode("utf-8", "replace") + b"\n"
    magic = b"\x93NUMPY" + random.choice((content[6:8], content[6:8], b"\2\0", b"\3\0", b"\1\1"))
    length = "<H" if magic[6] == 1 else "<I"
    return magic + struct.pack(length, len(header)) + header + data


@or_bytes
def of_rows(content: bytes, random: Random) -> bytes:
    """A cell of a table of commas, or a row."""
    rows = [line.split(b",") for line in content.split(b"\n")]
    row = random.choice(rows)
    cell = random.randrange(len(row))
    match random.randrange(6):
        case 0:
            row[cell] = str(odd(random)).encode(
                "utf-8", random.choice(("replace", "surrogatepass"))
            )
        case 1:
            del row[cell]
        case 2:
            row.insert(cell, random.choice(row))
        case 3:
            row[cell] = random.choice(
                (b'"', b'""', b'"a,b"', b'"a\nb"', b"'", b"\0", b"\r", b"nan")
            )
        case 4:
            rows.insert(rows.index(row), list(row))
        case _:
            other = random.choice(rows)
            there = random.randrange(len(other))
            row[cell], other[there] = other[there], row[cell]
    return random.choice((b"\n", b"\n", b"\r\n", b"\r")).join(b",".join(row) for row in rows)


@or_bytes
def of_safetensors(content: bytes, random: Random) -> bytes:
    """The header, which is JSON, with its length made to fit or not."""
    size = int.from_bytes(content[:8], "little")
    header, data = content[8 : 8 + size], content[8 + size :]
    header = random.choice((of_json, of_json, of_bytes(*JSON_WORDS)))(header, random)
    if random.random() < 0.9:
        size = len(header)
    return size.to_bytes(8, "little") + header + data


@or_bytes
def of_parquet(content: bytes, random: Random) -> bytes:
    """A column's name, its values, or what Hugging Face's library says beside the table."""
    if parquet.read_metadata(io.BytesIO(content)).num_rows > 1_000:
        return _any_bytes(content, random)  # an earlier mutation says so, and to read it takes long
    table = parquet.read_table(io.BytesIO(content))
    names = table.column_names
    index = random.randrange(len(names))
    match random.randrange(4):
        case 0:
            names[index] = random.choice((*names, *TEXTS))
            table = table.rename_columns(names)
        case 1:
            label = {"names": ["cat", "dog", "eel"], "_type": "ClassLabel"}
            described = change({"info": {"features": {"label": label}}}, random)
            table = table.replace_schema_metadata({"huggingface": json.dumps(described)})
        case _:
            values = change(table.column(index).to_pylist(), random)
            if depth(values) > 50:  # pyarrow takes 17 GiB to make an array that is 2,000 deep
                return _any_bytes(content, random)
            table = table.set_column(index, names[index], pyarrow.array(values))
    written = io.BytesIO()
    parquet.write_table(table, written)
    return written.getvalue()


@or_bytes
def of_png(content: bytes, random: Random) -> bytes:
    """A chunk, whose checksum is made to fit."""
    chunks, place = [], 8
    while place < len(content):
        size = int.from_bytes(content[place : place + 4])
        chunks.append((content[place + 4 : place + 8], content[place + 8 : place + 8 + size]))
        place += 12 + size
    index = random.randrange(len(chunks))
    name, data = chunks[index]
    match random.randrange(5):
        case 0:
            del chunks[index]
        case 1:
            chunks.insert(index, random.choice(chunks))
        case 2:
            kinds = (
                b"tEXt",
                b"zTXt",
                b"iCCP",
                b"tRNS",
                b"PLTE",
                b"acTL",
                b"fdAT",
                b"eXIf",
                b"IDAT",
            )
            chunks.insert(index, (random.choice(kinds), of_bytes()(zlib.compress(data), random)))
        case 3:
            sides = [random.choice((0, 1, 3, 5_000, 10**5, 2**31 - 1, 2**32 - 1)) for _ in range(2)]
            chunks[0] = chunks[0][0], struct.pack(">II", *sides) + chunks[0][1][8:]
        case _:
            chunks[index] = name, of_bytes()(data, random)
    return content[:8] + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    )


def of_protobuf(kind: type[Message]) -> Mutation:
    """A field of a message, wherever its descriptor says that it may stand."""

    def mutate(content: bytes, random: Random) -> bytes:
        whole = kind()
        whole.ParseFromString(content)
        found = list(messages(whole))
        message: Any = random.choice(found)
        field = random.choice(message.DESCRIPTOR.fields)
        _change_field(message, field, found, random)
        return bytes(whole.SerializeToString())

    return or_bytes(mutate)


def messages(whole: Message) -> Iterator[Message]:
    """A message and all in it that are set."""
    yield whole
    for field, value in whole.ListFields():
        if field.message_type:
            for each in [value] if isinstance(value, Message) else value:
                yield from messages(each)


def _change_field(message: Any, field: Any, found: list[Message], random: Random) -> None:
    value = getattr(message, field.name)
    if random.random() < 0.2:
        message.ClearField(field.name)
    elif field.message_type:
        alike = [each for each in found if each.DESCRIPTOR is field.message_type]
        content = random.choice(alike).SerializeToString() if alike else b""
        if isinstance(value, Message):
            value.ParseFromString(content)
        elif value and random.random() < 0.3:
            del value[random.randrange(len(value))]
        else:
            for _ in range(min(random.choice((1, 1, 2, 100)), LONGEST // (len(content) + 1))):
                value.add().ParseFromString(content)
    else:
        wanted = _scalar(field, found, random)
        with suppress(ValueError, TypeError):  # such as a number beyond the field's range
            if isinstance(value, str | bytes | int | float):
                setattr(message, field.name, wanted)
            elif value and random.random() < 0.5:
                value[random.randrange(len(value))] = wanted
            else:
                value.extend([wanted] * random.choice((1, 1, often(wanted, random))))


def _scalar(field: Any, found: list[Message], random: Random) -> Any:
    if field.type == field.TYPE_STRING:
        named = [
            text
            for each in found
            for known, text in each.ListFields()
            if known.type == field.TYPE_STRING and isinstance(text, str)
        ]
        return random.choice((random.choice(TEXTS[:40]), *named))
    if field.type == field.TYPE_BYTES:
        return random.randbytes(random.choice((0, 1, 4, 100)))
    if field.enum_type:
        return random.choice((-1, 0, 1, 2, 7, 8, 99, *field.enum_type.values_by_number))
    return random.choice(NUMBERS)
