"""Checks every file in configs/ against the JSON schema that mltrain prints, with Python's jsonschema: a second opinion beside the
Go test (internal/config, TestExampleConfigs), from another validator and another reader of YAML.

    pip install jsonschema==4.26.0 ruamel.yaml==0.19.1
    python tools/check_configs.py [bin/mltrain]

Exit code 1 if a file does not fit the schema, or if the schema lets one of the faults through that are planted into each file.
"""

import copy
import json
import subprocess
import sys
from pathlib import Path

import jsonschema
from ruamel.yaml import YAML

ROOT = Path(__file__).resolve().parent.parent

# Each must be refused, whatever else a config holds.
FAULTS = [
    ("max_length", 0),
    ("max_length", "long"),
    ("learning_rate", -1),
    ("packing_strategy", "tightly"),
    ("datasets", [{"split": "train"}]),
    ("learning_rat", 1e-4),
]


def main() -> int:
    program = sys.argv[1] if len(sys.argv) > 1 else str(ROOT / "bin" / "mltrain")
    schema = json.loads(subprocess.run([program, "config", "schema"], check=True, capture_output=True, text=True).stdout)
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    reader = YAML(typ="safe", pure=True)  # YAML 1.2, in which 1e-3 is a number
    bad = 0
    files = sorted((ROOT / "configs").glob("*.yaml"))
    for file in files:
        config = reader.load(file.read_text())
        errors = list(validator.iter_errors(config))
        for e in errors:
            print(f"{file.name}: {'.'.join(map(str, e.path))}: {e.message}")
        for key, value in FAULTS:
            spoilt = copy.deepcopy(config)
            spoilt[key] = value
            if validator.is_valid(spoilt):
                errors.append(key)
                print(f"{file.name}: the schema accepts {key}: {value!r}")
        print(f"{file.name}: {'faulty' if errors else 'fits'}")
        bad += bool(errors)
    return 1 if bad or not files else 0


if __name__ == "__main__":
    sys.exit(main())
