# SPDX-License-Identifier: MIT
"""On a machine with a kernel and control groups v2 of its own: memory, modules, a reboot."""

import re
import time

import pytest

from lab.vm import Vm
from system import kernel
from system.controller import Controller
from system.test_privilege import GOAL, GOAL_WITHOUT_NAMES, exposure
from system.test_self import SWELL


pytestmark = pytest.mark.slow  # QEMU without KVM; test_self and test_privilege are the small ones

BACKENDS = {"debian12": "nftables"}
BANNED = {"192.0.2.77", "2001:db8::77"}
DEADLINE = 240.0
SLICE = "/sys/fs/cgroup/stockade.slice"
GROUP = f"{SLICE}/stockade-agent.service"
SWELLING = """\
[Definition]
actionban = /usr/lib/stockade/python3 -c "bytearray(900 << 20)"
"""
"""More than the slice may have, of a machine with 1 GiB."""


class Pushed:
    """A machine that was pushed to, with bans in force."""

    def __init__(self, vm, folder):
        self.vm, self.backend = vm, BACKENDS[vm.kind]
        self.controller = Controller(vm, folder)
        self.push()
        self.vm.run(["stockade-agent", "ban", "sshd", *BANNED])
        self.wait_until_banned()

    def push(self, **variables):
        roles = {"stockade_roles": ["base", "sshd"], "sshd_bantime": "1d"}
        self.controller.write_inventory([self.vm], {**roles, **variables})
        self.controller.push()

    def show(self, what):
        return self.vm.run(f"systemctl show -P {what} stockade-agent").stdout.strip()

    def is_banned(self):
        return kernel.banned(self.vm, self.backend) >= BANNED

    def wait_until_banned(self):
        self.until(self.is_banned)

    def until(self, condition):
        """Poll until something is so."""
        end = time.monotonic() + DEADLINE
        while not condition():
            assert time.monotonic() < end, self.vm.run(
                "systemctl status --no-pager -n 40 stockade-agent", check=False
            ).stdout
            time.sleep(0.2)


@pytest.fixture(scope="module", params=BACKENDS)
def pushed(request, tmp_path_factory):
    """A machine of each kind."""
    with Vm(request.param) as vm:
        yield Pushed(vm, tmp_path_factory.mktemp(request.param))


def test_its_limits_are_the_kernels(pushed):
    """The ceilings of unit and slice, in bytes, stand in their control groups."""
    memory = int(re.findall(r"MemTotal: +(\d+)", pushed.vm.run("cat /proc/meminfo").stdout)[0])
    files = [f"{SLICE}/memory.max", *(f"{GROUP}/{n}" for n in ("memory.max", "pids.max"))]
    share, *own = pushed.vm.run(["cat", *files]).stdout.split()

    assert memory * 1024 * 0.75 == pytest.approx(int(share), abs=1 << 20)
    assert ["2147483648", "256"] == own
    assert {"max"} == {*pushed.vm.run(f"cat {GROUP}/memory.high").stdout.split()}


def test_a_swollen_command_ends_alone(pushed):
    """At three quarters of the host's memory the kernel kills the largest: the agent goes on."""
    vm = pushed.vm
    pushed.controller.write("action.d/swell.conf", SWELLING)
    pushed.controller.write("jail.d/swell.conf", "[sshd]\naction = %(action_)s\n  swell\n")
    pushed.push()
    vm.run("stockade-agent ban sshd 192.0.2.78")
    pushed.until(lambda: "action swell: failed" in vm.run("stockade-agent status").stdout)
    assert pushed.is_banned()
    killed = vm.run("journalctl --no-pager -k -g 'Memory cgroup out of memory'").stdout
    for name in ("action.d/swell.conf", "jail.d/swell.conf"):
        (pushed.controller.folder / name).unlink()
    pushed.push()
    vm.run("stockade-agent unban sshd 192.0.2.78")

    assert "(python3)" in killed
    assert "task_memcg=/stockade.slice/stockade-agent.service" in vm.run("journalctl -k").stdout


def test_a_swollen_agent_is_ended_and_started_again(pushed):
    """At its ceiling the kernel kills it; another one follows, bans stay in force."""
    vm, before = pushed.vm, pushed.show("MainPID")
    ceiling = int(vm.run(f"sed -n 's/^anon //p' {GROUP}/memory.stat").stdout) + (6 << 20)
    vm.run(f"systemctl set-property --runtime stockade-agent MemoryMax={ceiling}")
    assert str(ceiling // 4096 * 4096) == vm.run(f"cat {GROUP}/memory.max").stdout.strip()
    begun = time.monotonic()
    vm.run(["/usr/lib/stockade/python3", "-c", SWELL], check=False)

    def is_back():
        assert pushed.is_banned()
        return pushed.show("MainPID") not in (before, "0")

    pushed.until(is_back)
    vm.run("systemctl set-property --runtime stockade-agent MemoryMax=2G")
    pushed.until(lambda: vm.run("stockade-agent ping", check=False).rc == 0)
    print(f"{vm.kind}: ended at {ceiling >> 20} MiB, well after {time.monotonic() - begun:.1f} s")

    killed = vm.run("journalctl --no-pager -k -g 'Memory cgroup out of memory'").stdout
    assert f"Killed process {before} " in killed
    assert "status=9/KILL" in vm.run("journalctl --no-pager -u stockade-agent").stdout
    assert pushed.is_banned()


def test_a_reboot_restores_bans(pushed):
    """A new kernel refuses whom the old one did."""
    pushed.vm.reboot()
    pushed.wait_until_banned()

    assert "active" == pushed.show("ActiveState")
    assert "0" == pushed.show("NRestarts")


def test_exposure(pushed):
    """The figures are no others than on hosts of the lab."""
    with_names = exposure(pushed.vm)
    pushed.push(base_usedns="no")
    without = exposure(pushed.vm)
    print(f"{pushed.vm.kind}: exposure {with_names}, {without} without names")
    pushed.push()

    assert with_names <= GOAL
    assert without <= GOAL_WITHOUT_NAMES


def test_iptables_legacy_on_a_kernel_without_its_modules(pushed):
    """Nothing but the unit has them loaded, and its bans are in force after each boot."""
    vm = pushed.vm
    use_variant(vm, "legacy")
    assert "ip_tables" not in vm.run("cat /proc/modules").stdout
    pushed.push(base_firewall="iptables", base_usedns="no")
    pushed.backend = "iptables"
    pushed.wait_until_banned()
    vm.reboot()
    pushed.wait_until_banned()
    user = vm.run("ps -C python3 -o user=").stdout.split()
    lock = vm.run("stat -c '%a %U' /run/xtables.lock").stdout.strip()
    figure = exposure(vm)
    pushed.push()
    pushed.backend = "nftables"
    use_variant(vm, "nft")

    assert (["stockade"], "600 root") == (user, lock)
    assert figure <= GOAL_WITHOUT_NAMES


def use_variant(vm, variant):
    for tool in ("iptables", "ip6tables"):
        vm.run(["update-alternatives", "--set", tool, f"/usr/sbin/{tool}-{variant}"])
