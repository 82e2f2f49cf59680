"""The first joule of this machine: one short generation, metered, printed and kept.

``python -m greenkit.authoring.first_result FOLDER`` writes first_result.json and .txt there.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

PROMPT = "In one sentence: what is a joule?"
NEW_TOKENS = 48


def main(arguments: Sequence[str] | None = None) -> None:
    """Load the default model, let it answer once to warm up and once metered, print the table."""
    parser = argparse.ArgumentParser(description="Meter one generation of the default model.")
    parser.add_argument("folder", type=Path, help="where the result is kept")
    folder = parser.parse_args(arguments).folder

    import greenkit as gk
    from greenkit.course.device import device_facts

    device = device_facts()
    model = gk.load_model()
    gk.generate(model, PROMPT, new_tokens=4)
    with gk.EnergyMeter() as meter, meter.window("answer") as window:
        reply = gk.generate(model, PROMPT, new_tokens=NEW_TOKENS)
    window.work["tokens"] = reply.new_tokens
    lines = [
        f"{model.name} ({model.parameters / 1e6:.0f} million parameters) on {device['name']}:",
        f"  {reply.text}",
        meter.report(),
        *meter.reasons,
    ]
    text = "\n".join(lines)
    print(text)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "first_result.txt").write_text(text + "\n", encoding="utf-8")
    record = {
        "device": device,
        "reply": reply.text,
        "tokens": reply.new_tokens,
        "readings": [reading.to_dict() for reading in window.readings],
    }
    (folder / "first_result.json").write_text(json.dumps(record, indent=1), encoding="utf-8")
    print(f"kept in {folder.as_posix()}/first_result.txt")


if __name__ == "__main__":
    main()
