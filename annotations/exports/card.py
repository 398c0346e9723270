"""The card beside an export: what it is, from which snapshot, what ties became, what was left out."""

from pathlib import Path

from annotations.exports.stream import Exported, Votes

SYNTHETIC = "**Synthetic**: these choices were made by simulated annotators and say nothing about people.\n\n"
WHOSE = """People are known by pseudonyms. Gold tasks, practice, repeats, votes that were undone and votes of excluded
people are not in it. The split is by prompt: no prompt is in both parts.
"""


def write_card(path: Path, votes: Votes, exported: Exported, *, form: str, text: str, front: str = "") -> None:
    """Writes a README beside the data.

    Args:
        path: of the README.
        votes: what was exported.
        exported: the counts.
        form: the name of the form.
        text: how to read it, and its rules, the tie rule among them.
        front: YAML front matter, where readers look for it.
    """
    snapshot = votes.snapshot
    left_out = ", ".join(f"{count:,} {outcome}" for outcome, count in exported.left_out.items()) or "nothing"
    lines = [
        f"{front}# Choices between images, as `{form}`\n\n",
        SYNTHETIC if snapshot.is_synthetic else "",
        f"{text}\n\n",
        "| | |\n|---|---|\n",
        f"| campaign | {snapshot.filters.get('campaign', '')} |\n",
        f"| votes in it | {exported.votes:,} |\n",
        f"| images | {exported.images:,} |\n",
        f"| left out, for there is no form for them | {left_out} |\n",
        f"| snapshot (SHA-256) | `{snapshot.sha256}` |\n",
        f"| frozen at | {snapshot.created_at:%Y-%m-%d %H:%M} UTC |\n\n",
        WHOSE,
    ]
    path.write_text("".join(lines), encoding="utf-8")
