# SPDX-License-Identifier: MIT
"""Write molecule's instance config, and an inventory for stockade, for the hosts of the running lab."""

import json
import os
from pathlib import Path

from lab import Lab


HOSTS = ("debian12", "el9")


def main() -> None:
    """Write both; the variables INSTANCE_CONFIG and INVENTORY say where."""
    lab = Lab.attach()
    instances = [
        {
            "instance": name,
            "address": lab.host(name).address,
            "user": "root",
            "port": 22,
            "identity_file": str(lab.key),
        }
        for name in HOSTS
    ]
    Path(os.environ["INSTANCE_CONFIG"]).write_text(json.dumps(instances))

    inventory = Path(os.environ["INVENTORY"])
    inventory.mkdir(exist_ok=True)
    lab.known_hosts(inventory / "known_hosts")
    hosts = {
        name: {
            "ansible_host": lab.host(name).address,
            "ansible_user": "root",
            "ansible_ssh_private_key_file": str(lab.key),
        }
        for name in HOSTS
    }
    everywhere = {"stockade_roles": ["base", "sshd", "tightvnc"], "sshd_maxretry": 3}
    # JSON is YAML.
    document = {"all": {"hosts": hosts, "vars": everywhere}}
    (inventory / "hosts.yml").write_text(json.dumps(document, indent=2))


if __name__ == "__main__":
    main()
