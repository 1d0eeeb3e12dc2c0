import numpy as np

from al_platform.models.transformer.checkpoints import held, read_checkpoint, write_checkpoint


def leave(folder, step):
    tensors = {"weight/w": np.full((2, 3), step, np.float32), "step/w": np.array(step, np.float32)}
    return write_checkpoint(folder, step, {"step": step}, tensors)


def test_numbers_come_back_as_numbers(tmp_path):
    state, tensors = read_checkpoint(leave(tmp_path, 3))
    assert state == {"step": 3}
    assert {name: tensor.shape for name, tensor in tensors.items()} == {"weight/w": (2, 3), "step/w": ()}


def test_a_checkpoint_that_is_held_can_be_read_after_the_next_one_took_its_place(tmp_path):
    first = leave(tmp_path, 3)
    with held(first) as checkpoint:
        leave(tmp_path, 6)
        assert not first.exists()
        assert checkpoint.name == first.name
        assert read_checkpoint(checkpoint)[0] == {"step": 3}
    assert [path.name for path in tmp_path.iterdir()] == ["step-000000006"]


def test_a_checkpoint_that_is_gone_already_cannot_be_held(tmp_path):
    first = leave(tmp_path, 3)
    leave(tmp_path, 6)
    with held(first) as checkpoint:
        assert checkpoint is None
