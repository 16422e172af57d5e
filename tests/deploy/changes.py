# SPDX-License-Identifier: MIT
"""Manifests that differ a little, and what a push says that it changed."""


def with_file(manifest, *files):
    """Return the files of a manifest, those of the same path replaced."""
    by_path = {file.path: file for file in (*manifest.files, *files)}
    return tuple(by_path[path] for path in sorted(by_path))


def actions(result):
    """Return kind, name and action of each change."""
    return [(change.kind, change.name, change.action) for change in result.changes]


def restarts(host):
    """Return the verbs by which systemctl was told to restart or reload units, in order."""
    verbs = [call.split()[1] for call in host.calls]
    return [verb for verb in verbs if verb in ("restart", "reload-or-restart")]
