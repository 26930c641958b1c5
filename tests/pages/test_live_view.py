"""Live pages in a real browser, used as people use them: with a mouse, a finger, the keys alone, and on a phone."""

import time

import numpy as np
import pytest
import torch
from browser import WIDTHS, chromium, complaints, fetched, open_page, too_wide
from making import character_net, drawn

import ffrecur
from ffrecur.pages.live import live_page
from ffrecur.pages.live_inputs import Stored
from ffrecur.pages.live_weights import rounded

pytestmark = pytest.mark.slow
SMALL = """return [...document.querySelectorAll('button, select, input, textarea, summary, #pad')]
    .map((target) => [target.id || target.getAttribute('aria-label'), target.closest('label') ?? target])
    .filter(([, target]) => target.getClientRects().length)
    .map(([name, target]) => [name, target.getBoundingClientRect()])
    .filter(([, box]) => box.width < 44 || box.height < 44).map(([name]) => name)"""
UNNAMED = """return [...document.querySelectorAll('button, select, input, textarea, canvas[role], svg')]
    .filter((one) => !one.getAttribute('aria-label') && !one.labels?.length && !one.textContent.trim())
    .map((one) => one.outerHTML)"""


@pytest.fixture(scope="module")
def browser():
    with chromium() as opened:
        yield opened


@pytest.fixture
def driver(browser):
    """Afterwards nothing was complained of or fetched."""
    complaints(browser), fetched(browser)
    yield browser
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    assert complaints(browser) == []
    assert fetched(browser) == []


def image_net():
    return drawn(ffrecur.RecurrentNet(784, [12, 8], 10, sign=-1))


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """One page of images and one of text."""
    folder = tmp_path_factory.mktemp("pages")
    pixels = np.random.default_rng(0).integers(0, 256, (2, 28, 28), np.uint8)
    page = live_page(image_net(), Stored(("first <image>", "second"), pixels))
    (folder / "images.html").write_text(page.html, encoding="utf-8")
    text = live_page(character_net("abcdefghijklmnopqrstuvwxyz ;,.", goodness_weight=0.5))
    (folder / "text.html").write_text(text.html, encoding="utf-8")
    return folder


def opened(driver, page, width=WIDTHS[0], **media):
    features = [{"name": name.replace("_", "-"), "value": value} for name, value in media.items()]
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    open_page(driver, page, width)


def find(driver, name):
    return driver.find_element("id", name)


def until(condition, seconds=20):
    """Wait until a condition holds, and fail where it never does."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.05)
    return found


def draw_line(driver, points, kind="mouse"):
    """Draw with a mouse or a finger (`touch`); points are shares of the pad's sides."""
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.actions.pointer_input import PointerInput

    pad = find(driver, "pad")
    driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", pad)
    width, height = pad.size["width"], pad.size["height"]
    devices = [PointerInput("touch", "finger")] if kind == "touch" else None
    actions = ActionChains(driver, duration=20, devices=devices)
    pointer = actions.w3c_actions.pointer_action
    for number, (x, y) in enumerate(points):
        pointer.move_to(pad, int((x - 0.5) * width), int((y - 0.5) * height))
        if number == 0:
            pointer.pointer_down()
    pointer.pointer_up()
    actions.w3c_actions.perform()


def curves(driver):
    """How many points each curve has."""
    script = (
        "return [...document.querySelectorAll('.curve')].map((one) => one.getAttribute('points').split(' ').length)"
    )
    return driver.execute_script(script)


def seen(driver):
    return np.array(driver.execute_script("return Array.from(ffrecur.seen())")).reshape(28, 28)


def keys(driver, *typed):
    """Press keys wherever the focus is."""
    from selenium.webdriver.common.action_chains import ActionChains

    actions = ActionChains(driver)
    for key in typed:
        actions.send_keys(key)
    actions.perform()


def focused(driver):
    return driver.execute_script(
        "return document.activeElement.id || document.activeElement.getAttribute('aria-label')"
    )


# --- images -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["mouse", "touch"])
@pytest.mark.parametrize("width", WIDTHS)
def test_what_is_drawn_is_answered(driver, pages, kind, width):
    opened(driver, pages / "images.html", width)
    assert curves(driver) == []
    assert find(driver, "watch").get_attribute("disabled")
    draw_line(driver, [(0.3, 0.2), (0.7, 0.3), (0.4, 0.8)], kind)
    until(lambda: curves(driver) == [8] * 10)
    net, image = rounded(image_net()), torch.from_numpy(seen(driver)).float().reshape(1, 784)
    order = net.score(image)[0].argsort(descending=True).tolist()
    until(lambda: find(driver, "answer").text.startswith(f"Leading: {order[0]}, "))
    assert f"Next: {order[1]}, " in find(driver, "answer").text
    until(lambda: find(driver, "said").get_attribute("textContent") == find(driver, "answer").text)
    assert f"Leading: {order[0]}" in find(driver, "curves").get_attribute("aria-label")
    rows = "return [...document.querySelectorAll('#table tbody tr')].map((row) => [...row.cells].map((cell) => cell.textContent))"
    table = driver.execute_script(rows)
    assert [int(row[0]) for row in table] == order
    assert float(table[0][1]) == pytest.approx(float(net.score(image).max()), abs=6e-4)
    find(driver, "clear").click()
    until(lambda: find(driver, "answer").text.startswith("Draw something"))


def test_a_drawing_is_fitted_as_mnist_is(driver, pages):
    """A small stroke in a corner: its ink fills 20 pixels of 28, its centre of mass is within half a pixel of the middle."""
    opened(driver, pages / "images.html")
    draw_line(driver, [(0.1, 0.1), (0.3, 0.1), (0.2, 0.4)])
    ink = seen(driver)
    rows, columns = np.nonzero(ink.max(axis=1) > 0.5)[0], np.nonzero(ink.max(axis=0) > 0.5)[0]
    assert abs(max(np.ptp(rows), np.ptp(columns)) + 1 - 20) <= 1
    places = np.arange(28) + 0.5
    centre = [(ink.sum(axis=axis) * places).sum() / ink.sum() for axis in (0, 1)]
    assert np.abs(np.array(centre) - 14).max() <= 0.5 + 1e-6
    find(driver, "fit").click()
    until(lambda: seen(driver)[14:, 14:].max() == 0)  # as it was drawn, in its corner
    assert 0 < seen(driver)[:14, :14].max() <= 1


def test_a_stored_image_is_seen_as_it_is_and_watched(driver, pages):
    opened(driver, pages / "images.html")
    pixels = np.random.default_rng(0).integers(0, 256, (2, 28, 28), np.uint8)
    button = driver.find_element("css selector", "#stored button[aria-label='first <image>']")
    button.send_keys("\n")
    found = until(lambda: curves(driver))
    assert len(found) == 10
    until(lambda: curves(driver) == [8] * 10)
    assert np.abs(seen(driver) - pixels[0] / 255).max() < 1e-6
    draw_line(driver, [(0.1, 0.5), (0.9, 0.5)])
    assert (seen(driver) >= pixels[0] / 255 - 1e-6).all(), "ink is added on top"
    assert seen(driver)[14, 5:20].min() == 1


def test_watching_grows_the_curves_and_where_motion_is_not_wanted_steps(driver, pages):
    opened(driver, pages / "images.html")
    draw_line(driver, [(0.2, 0.2), (0.8, 0.8)])
    until(lambda: curves(driver) == [8] * 10)
    find(driver, "watch").click()
    lengths = set()
    until(lambda: lengths.add(curves(driver)[0]) or (8 in lengths and len(lengths) > 1))
    assert len(lengths) >= 4
    opened(driver, pages / "images.html", prefers_reduced_motion="reduce")
    draw_line(driver, [(0.2, 0.2), (0.8, 0.8)])
    until(lambda: curves(driver) == [8] * 10)
    for expected in (1, 2, 3):
        find(driver, "watch").click()
        assert curves(driver) == [expected] * 10
        time.sleep(0.5)
        assert curves(driver) == [expected] * 10
    assert "iteration 3" in find(driver, "expects").text


def test_the_keys_alone_draw_and_move_the_sliders(driver, pages):
    from selenium.webdriver.common.keys import Keys

    opened(driver, pages / "images.html")
    until(lambda: keys(driver, Keys.TAB) or focused(driver) == "pad")
    keys(driver, Keys.ARROW_LEFT, Keys.ARROW_LEFT, " ", *[Keys.ARROW_DOWN] * 5)
    until(lambda: curves(driver) == [8] * 10)
    assert find(driver, "pen").get_attribute("textContent") == "Pen down, row 20, column 13."
    keys(driver, " ", *[Keys.ARROW_UP] * 40)
    assert find(driver, "pen").get_attribute("textContent") == "Pen up, row 1, column 13."
    driver.execute_script("document.getElementById('fit').click()")
    until(lambda: (seen(driver)[14:20, 12] == 1).all())
    assert seen(driver)[:12].max() == 0, "a lifted pen leaves no ink"
    order = []
    while not order or (focused(driver) != order[0] and len(order) < 30):
        order.append(focused(driver))
        keys(driver, Keys.TAB)
    assert {
        "pad",
        "clear",
        "watch",
        "first <image>",
        "second",
        "whose",
        "iterations",
        "damping",
        "noise",
        "asTrained",
    } <= {*order}
    before = driver.execute_script("return ffrecur.seen()")
    find(driver, "noise").send_keys(Keys.ARROW_RIGHT)
    until(lambda: driver.execute_script("return ffrecur.seen()") != before)
    find(driver, "damping").send_keys(Keys.END)
    assert find(driver, "dampingValue").text == "0.95"
    find(driver, "iterations").send_keys(Keys.END)
    until(lambda: curves(driver) == [20] * 10)
    find(driver, "asTrained").send_keys("\n")
    until(lambda: curves(driver) == [8] * 10)
    assert find(driver, "dampingValue").text == "0.3, as trained"
    find(driver, "pad").send_keys(Keys.DELETE)
    until(lambda: find(driver, "answer").text.startswith("Draw something"))


def test_the_expectation_of_another_label_can_be_seen(driver, pages):
    from selenium.webdriver.support.select import Select

    opened(driver, pages / "images.html")
    draw_line(driver, [(0.2, 0.2), (0.8, 0.8)])
    until(lambda: curves(driver) == [8] * 10)
    picture = "return document.getElementById('expected').toDataURL()"
    pictures = {driver.execute_script(picture)}
    for label in range(10):
        Select(find(driver, "whose")).select_by_value(str(label))
        assert find(driver, "expects").text == f"What {label} expects, iteration 8"
        pictures.add(driver.execute_script(picture))
    assert len(pictures) == 10, "one of them is that of the leading label"


# --- text -------------------------------------------------------------------------------------------------------------


def likeliest(driver):
    """The symbols that the page offers, with their shares as they are shown."""
    script = "return [...document.querySelectorAll('#next button')].map((one) => [one.dataset.symbol, one.lastChild.textContent])"
    return driver.execute_script(script)


def test_typing_shows_what_may_come_next(driver, pages):
    opened(driver, pages / "text.html")
    net = rounded(character_net("abcdefghijklmnopqrstuvwxyz ;,.", goodness_weight=0.5))
    area = find(driver, "text")
    assert area.get_attribute("value") == "the fox "
    area.send_keys("jum")
    shares = torch.softmax(net.score(net.encode("jum")[None])[0], dim=0)
    expected = [net.decode([number]) for number in shares.argsort(descending=True)[:10].tolist()]
    assert [symbol for symbol, _ in likeliest(driver)] == expected
    assert float(likeliest(driver)[0][1].split()[0]) == pytest.approx(100 * float(shares.max()), abs=0.51)
    button = driver.find_element("css selector", "#next li:nth-child(2) button")
    button.send_keys("\n")
    assert area.get_attribute("value") == "the fox jum" + expected[1]
    assert driver.switch_to.active_element == button, "the focus stays"
    until(lambda: find(driver, "said").get_attribute("textContent").startswith("Likeliest next: "))
    assert find(driver, "warning").text == ""
    area.send_keys("É3")
    assert find(driver, "warning").text == "Not in the alphabet and dropped: '3' 'é'"


def dreamt(driver, count):
    """What is dreamt from an empty text until it is stopped."""
    area = find(driver, "text")
    area.clear()
    find(driver, "dream").click()
    until(lambda: len(area.get_attribute("value")) >= count)
    find(driver, "dream").click()
    text = area.get_attribute("value")
    assert find(driver, "dream").text == "Dream"
    time.sleep(0.3)
    assert area.get_attribute("value") == text
    return text


def test_it_dreams_until_it_is_stopped_and_a_seed_gives_the_same_dream(driver, pages):
    from selenium.webdriver.common.keys import Keys

    opened(driver, pages / "text.html")
    one, same = dreamt(driver, 30), dreamt(driver, 30)
    length = min(len(one), len(same))
    assert one[:length] == same[:length]
    find(driver, "seed").send_keys(Keys.BACKSPACE, "5")
    assert dreamt(driver, 30)[:30] != one[:30]
    area = find(driver, "text")
    find(driver, "dream").click()
    area.send_keys(Keys.ESCAPE)
    assert find(driver, "dream").text == "Dream"
    assert "stopped after" in find(driver, "said").get_attribute("textContent")


def test_temperature_zero_takes_the_likeliest_character(driver, pages):
    from selenium.webdriver.common.keys import Keys

    opened(driver, pages / "text.html")
    find(driver, "temperature").send_keys(Keys.HOME)
    text = dreamt(driver, 12)
    net = rounded(character_net("abcdefghijklmnopqrstuvwxyz ;,.", goodness_weight=0.5))
    assert text.startswith(net.generate("", 12, temperature=0))


# --- both -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", ["images.html", "text.html"])
@pytest.mark.parametrize("width", WIDTHS)
def test_pages_fit_the_window_and_the_finger(driver, pages, page, width):
    opened(driver, pages / page, width)
    if page == "images.html":
        draw_line(driver, [(0.2, 0.2), (0.8, 0.8)])
        driver.execute_script("document.querySelector('details').open = true")
    assert too_wide(driver) <= 0
    assert driver.execute_script(SMALL) == []
    assert driver.execute_script(UNNAMED) == []


@pytest.mark.parametrize("page", ["images.html", "text.html"])
def test_without_scripts_a_page_says_so(driver, pages, page):
    opened(driver, pages / page)
    open_page(driver, pages / page, scripts=False)
    assert "JavaScript, which is switched off" in driver.find_element("css selector", "body").text
    open_page(driver, pages / page)
