import pytest
import torch
from torch import nn

from scoring import training_state
from scoring.checkpoints import CheckpointRejected
from tests.scoring.tiny import clip


def trained(steps: int, model: nn.Module, optimizer: torch.optim.Optimizer) -> list[float]:
    """Train on random numbers; the losses."""
    losses = []
    for _ in range(steps):
        loss = (model(torch.rand(4, 3)) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def fresh() -> tuple[nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 5), nn.Linear(5, 1))
    model[0].requires_grad_(False)
    return model, torch.optim.AdamW(model.parameters(), lr=0.01)


def test_restore_goes_on_as_if_it_had_never_stopped(tmp_path):
    model, optimizer = fresh()
    expected = trained(6, model, optimizer)
    weights = [parameter.tolist() for parameter in model.parameters()]
    model, optimizer = fresh()
    trained(3, model, optimizer)
    training_state.write(
        tmp_path, step=3, tensors=training_state.optimizer_tensors(model, optimizer), record={"config": {"seed": 0}}
    )
    torch.manual_seed(99)
    model, optimizer = fresh()
    torch.rand(100)

    state = training_state.latest(tmp_path)
    training_state.restore(model, optimizer, state.tensors)

    assert (state.step, state.record, state.rejected) == (3, {"config": {"seed": 0}}, ())
    assert trained(3, model, optimizer) == expected[3:]
    assert [parameter.tolist() for parameter in model.parameters()] == weights


def test_restore_gives_back_the_memory_of_an_optimizer_that_keeps_one_table_for_all(tmp_path):
    """As bitsandbytes' in 8 bits: the same tensor in every parameter's memory, and the steps as plain numbers."""
    model, optimizer = fresh()
    table = torch.arange(256.0)
    memory = {"step": 7, "state1": torch.ones(4, dtype=torch.uint8), "qmap1": table}
    for parameter in model[1].parameters():
        optimizer.state[parameter] = dict(memory)
    tensors = training_state.optimizer_tensors(model, optimizer)
    training_state.write(tmp_path, step=7, tensors=tensors, record={})
    model, optimizer = fresh()

    training_state.restore(model, optimizer, training_state.latest(tmp_path).tensors)

    for parameter in model[1].parameters():
        restored = optimizer.state[parameter]
        assert (restored["step"], type(restored["step"])) == (7, int)
        assert torch.equal(restored["qmap1"], table)
        assert torch.equal(restored["state1"], memory["state1"])


def test_restore_rejects_the_state_of_another_model():
    model, optimizer = fresh()
    tensors = training_state.optimizer_tensors(clip(), torch.optim.AdamW(clip().parameters()))

    with pytest.raises(CheckpointRejected, match="trains other parameters"):
        training_state.restore(model, optimizer, tensors)


def steps(tmp_path):
    return sorted(path.name for path in tmp_path.iterdir())


def test_write_keeps_the_last_two_and_removes_leftovers(tmp_path):
    (tmp_path / ".step-000090.killed.tmp").mkdir()

    for step in (90, 100, 110, 1_000_000):
        training_state.write(tmp_path, step=step, tensors={"a": torch.zeros(1)}, record={})

    assert steps(tmp_path) == ["step-000110", "step-1000000"]


def test_latest_falls_back_to_the_step_before_and_says_so(tmp_path):
    for step in (10, 20):
        training_state.write(tmp_path, step=step, tensors={"a": torch.full((1,), float(step))}, record={})
    damaged = tmp_path / "step-000020" / "weights.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:-2])

    state = training_state.latest(tmp_path)

    assert (state.step, state.tensors["a"].tolist()) == (10, [10.0])
    assert len(state.rejected) == 1
    assert str(damaged) in state.rejected[0]


def test_latest_is_none_without_a_state(tmp_path):
    assert training_state.latest(tmp_path / "nowhere") is None
    (tmp_path / "step-000010").mkdir()
    assert training_state.latest(tmp_path) is None
