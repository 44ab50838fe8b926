import os
import sys

from adaptive_attention_tiling.backends.threads import wait_asleep


def test_it_is_chosen_once_and_only_before_torch(monkeypatch):
    monkeypatch.setattr(os, "environ", {})
    assert wait_asleep() is False, "torch is imported already"
    monkeypatch.delitem(sys.modules, "torch")
    assert wait_asleep() is True
    assert os.environ == {"OMP_WAIT_POLICY": "PASSIVE"}


def test_what_the_user_chose_stays(monkeypatch):
    monkeypatch.setattr(os, "environ", {"OMP_WAIT_POLICY": "ACTIVE"})
    monkeypatch.delitem(sys.modules, "torch")
    assert wait_asleep() is False
    assert os.environ == {"OMP_WAIT_POLICY": "ACTIVE"}
