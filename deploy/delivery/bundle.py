"""The source bundle for Beanstalk: only the files on an allow list."""

import io
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from deploy.base.errors import Failure
from deploy.base.settings import SafeLoader

DOCKERRUN = "Dockerrun.aws.json"
FOLDERS = (".ebextensions", ".platform")
ALLOWED = {  # with their modes
    r"\.ebextensions/\d\d-[a-z-]+\.config": 0o644,
    r"\.platform/(config)?hooks/(prebuild|predeploy|postdeploy)/\d\d_\w+\.sh": 0o755,
    r"\.platform/nginx/(conf\.d/)?[\w-]+\.conf": 0o644,
}
PINNED = re.compile(r"[a-z0-9.:/_-]+@sha256:[0-9a-f]{64}")


def make(image: str, root: Path) -> bytes:
    """The bundle of the checkout ``root`` that runs ``image``.

    The same files and image give the same bytes. Raises Failure when ``image`` is not
    REPOSITORY@sha256:DIGEST, since instances could then run different images; when Beanstalk would
    not read a file; or when git has changed a file as it does on Windows: CRLF line endings, or a
    text file in place of a symbolic link.
    """
    if not PINNED.fullmatch(image):
        raise Failure(
            f"the image {image!r} is not pinned", next="name it as REPOSITORY@sha256:DIGEST"
        )
    template = (root / DOCKERRUN).read_text()
    content = {DOCKERRUN: (0o644, template.replace("<IMAGE>", image).encode())}
    for folder in FOLDERS:
        for path in sorted((root / folder).rglob("*")):
            if path.is_file():  # links are followed: the bundle has files only
                name = path.relative_to(root).as_posix()
                content[name] = (_mode(name), _whole(name, path.read_bytes()))
    return _pack(content)


def replace_image(bundle: bytes, image: str) -> bytes:
    """``bundle`` with another ``image``, and nothing else changed.

    Raises Failure when ``bundle`` was not made by ``write``.
    """
    content = {}
    try:
        with zipfile.ZipFile(io.BytesIO(bundle)) as archive:
            for entry in archive.infolist():
                mode = (entry.external_attr >> 16) & 0o777
                content[entry.filename] = (mode, archive.read(entry))
        mode, dockerrun = content[DOCKERRUN]
    except (zipfile.BadZipFile, KeyError) as error:
        raise Failure(
            f"the bundle cannot be read: {error!r}", next="name another version"
        ) from error
    text, count = PINNED.subn(image, dockerrun.decode())
    if count != 1:
        raise Failure(f"{DOCKERRUN} in the bundle names no image", next="name another version")
    return _pack(content | {DOCKERRUN: (mode, text.encode())})


def read_options(bundle: bytes) -> dict[tuple[str, str], Any]:
    """The options that .ebextensions in ``bundle`` sets, by namespace and name; the last file wins.

    Raises Failure for a bundle that was not made by ``make``.
    """
    found: dict[tuple[str, str], Any] = {}
    try:
        with zipfile.ZipFile(io.BytesIO(bundle)) as archive:
            for name in sorted(one for one in archive.namelist() if one.endswith(".config")):
                document = yaml.load(archive.read(name), SafeLoader)  # noqa: S506
                for namespace, values in document.get("option_settings", {}).items():
                    found |= {(namespace, option): value for option, value in values.items()}
    except (zipfile.BadZipFile, yaml.YAMLError, AttributeError) as error:
        raise Failure(
            f"the bundle cannot be read: {error!r}", next="name another version"
        ) from error
    return found


def _pack(content: Mapping[str, tuple[int, bytes]]) -> bytes:
    """A ZIP archive of files by name, each with its mode and its content."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as bundle:
        for name, (mode, data) in content.items():
            # Dated 1980, so that the time of the build makes no difference
            entry = zipfile.ZipInfo(name)
            entry.create_system = 3  # Unix; otherwise the modes are ignored
            entry.external_attr = (0o100000 | mode) << 16
            bundle.writestr(entry, data)
    return packed.getvalue()


def _whole(name: str, data: bytes) -> bytes:
    if b"\r\n" in data or (name.endswith(".sh") and not data.startswith(b"#!")):
        raise Failure(
            f"{name} has Windows line endings, or is a text file instead of a link, and would not "
            "run on an instance",
            next="clone again in WSL, or on Windows in developer mode with: "
            "git -c core.autocrlf=false -c core.symlinks=true clone ...",
        )
    return data


def _mode(name: str) -> int:
    for allowed, mode in ALLOWED.items():
        if re.fullmatch(allowed, name):
            return mode
    raise Failure(f"Beanstalk would not read {name}", next="remove or rename it")
