"""The dreams that run next to a stream: from its state, with the model's own characters, for so many of them."""

import pytest
import torch
from making import stream_net, stream_state

from ffrecur.errors import SettingWarning
from ffrecur.lit import StreamModule
from ffrecur.lit.dreams import StreamDreams


def goes_on(net, dreams, begins):
    """Let dreams run by the net's own characters; return which of them began again at each character, `(T, B, K)`."""
    carried, found = stream_state(net, 2), []
    for step, begins_B in enumerate(begins):
        state = net.fresh_where(carried, begins_B)
        source = torch.Generator().manual_seed(step)
        state = dreams.begin(state, carried, begins_B, torch.rand(2, dreams.count, generator=source))
        found.append(dreams.left_BK == dreams.depth[1] - 1)
        for own, hidden in zip(state.dreams, state.hidden, strict=True):
            assert torch.equal(own[found[-1]], hidden[:, None].expand_as(own)[found[-1]])
        symbols_BK = dreams.draw(net, state, torch.rand(2, dreams.count, generator=source))
        after = net.prepared_step(net.prepare(), state._replace(dreams=()), torch.zeros(2, dtype=torch.long))
        for k in range(dreams.count):
            alone = state._replace(hidden=tuple(each[:, k] for each in state.dreams), dreams=())
            after = after._replace(dreams=(*after.dreams, net.step(alone, symbols_BK[:, k]).hidden))
        carried = after._replace(dreams=tuple(torch.stack(each, dim=1) for each in zip(*after.dreams, strict=True)))
    return torch.stack(found)


def test_a_dream_lasts_as_many_characters_as_it_may_and_ends_with_its_document():
    net = stream_net(top_down=False)
    begins = torch.zeros(7, 2, dtype=torch.bool)
    begins[4, 1] = True
    again_TBK = goes_on(net, StreamDreams(2, (3, 3), 1.0), begins)
    assert again_TBK[:, 0, 0].tolist() == [True, False, False, True, False, False, True]
    assert again_TBK[:, 1, 1].tolist() == [True, False, False, True, True, False, False]


def test_lengths_are_drawn_from_least_to_most():
    net, dreams = stream_net(), StreamDreams(400, (1, 4), 1.0)
    state, none = stream_state(net, 2), torch.zeros(2, dtype=torch.bool)
    dreams.begin(state, state, none, torch.rand(2, 400, generator=torch.Generator().manual_seed(0)))
    shares = torch.bincount(dreams.left_BK.flatten() + 1, minlength=5) / 800
    assert shares[0] == 0
    torch.testing.assert_close(shares[1:], torch.full((4,), 0.25), rtol=0, atol=0.06)


def test_characters_of_dreams_are_drawn_as_the_head_predicts_them():
    net, dreams = stream_net(), StreamDreams(3000, (1, 1), 1.0)
    state, none = stream_state(net, 2), torch.zeros(2, dtype=torch.bool)
    source = torch.Generator().manual_seed(0)
    begun = dreams.begin(state, state, none, torch.rand(2, 3000, generator=source))
    symbols_BK = dreams.draw(net, begun, torch.rand(2, 3000, generator=source))
    shares = torch.stack([torch.bincount(row, minlength=4) for row in symbols_BK]) / 3000
    torch.testing.assert_close(shares.double(), torch.softmax(net.logits(state), dim=1).detach(), rtol=0, atol=0.03)
    dreams.temperature = 0.0
    likeliest_B = net.logits(state).argmax(dim=1)
    assert (dreams.draw(net, begun, torch.rand(2, 3000)) == likeliest_B[:, None]).all()


@pytest.mark.parametrize("setting", [{"dream_depth": (1, 3)}, {"dream_temperature": 0.7}])
def test_settings_of_dreams_without_dreams_are_warned_of(setting):
    with pytest.warns(SettingWarning, match=f"{next(iter(setting))} is given, but has no effect with negatives teach"):
        StreamModule(**setting)
