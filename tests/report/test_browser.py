"""The page in Debian's chromium, without a screen; left out without chromium and its driver."""

from __future__ import annotations

import base64
import json
import re
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.select import Select
from torch import Generator, tensor

from asma import masking, skeleton
from asma.illustration.player import staged
from asma.report import claims, page
from asma.report.rows import Run
from asma.report.statistics import Comparison
from asma.report.tables import Line, Table
from tests.report.grid import collect_table

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
if not (CHROMIUM and DRIVER):
    remedy = "Debian: apt-get install chromium chromium-driver"
    pytest.skip(f"no chromium and chromedriver; {remedy}", allow_module_level=True)
pytestmark = pytest.mark.browser
FLAGS = (
    "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-sync "
    "--disable-background-networking --disable-component-update --hide-scrollbars "
    "--window-size=1280,900"
)
# Through all frames: whether the picture is dimmed, and what is said.
SCRUB = """const [input, picture, state] = arguments;
return Array.from({ length: Number(input.max) + 1 }, (_, t) => {
  input.value = t;
  input.dispatchEvent(new Event("input"));
  return [picture.querySelector("svg").classList.contains("dimmed"), state.textContent];
})"""
# The frames that are marked as hidden.
MARKED = """return (document.querySelector('#player [data-part="strip"]').getAttribute("d") ?? "")
.split("M").filter(Boolean).map(parseFloat)"""
Illustrate = Callable[..., dict[str, Any]]
Open = Callable[..., webdriver.Chrome]


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    """A browser that keeps a log of everything it asks for."""
    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for flag in [*FLAGS.split(), f"--user-data-dir={tmp_path_factory.mktemp('profile')}"]:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NO_PROXY", "localhost,127.0.0.1")  # the driver's address
        browser = webdriver.Chrome(options, webdriver.ChromeService(executable_path=str(DRIVER)))
        yield browser
        browser.quit()


@pytest.fixture(scope="module")
def site(
    tmp_path_factory: pytest.TempPathFactory,
    paper: dict[str, Any],
    write_to: Callable[[Path, Mapping[str, Any]], Path],
    illustrate: Illustrate,
) -> Path:
    """index.html beside its runs: two benchmarks with a player, of other joints; many figures."""
    folder = tmp_path_factory.mktemp("site")
    results = collect_table(paper, write_to(folder, paper))
    players = {
        "demo_ntu_xsub": illustrate("demo_ntu_xsub"),
        "ntu60_xsub": illustrate("ntu60_xsub", "kinect_v1", bodies=1, frames=30),
    }
    drawn = {f"confusion_ntu60_xsub_{index}": Figure(figsize=(7, 2)) for index in range(6)}
    for figure in drawn.values():
        figure.add_subplot().plot([1, 2])
    (folder / "report").mkdir()
    path = folder / "report" / "index.html"
    path.write_text(page.html(results, drawn, players), encoding="utf-8")
    return path


@pytest.fixture
def show(chromium: webdriver.Chrome, site: Path) -> Iterator[Open]:
    """show(): the page afresh; width=390: on a phone; media, scheme: printed, or light or dark."""

    def opened(
        path: Path = site, width: int = 1280, media: str = "screen", scheme: str = "light"
    ) -> webdriver.Chrome:
        size = {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": width < 600}
        wishes = {
            "prefers-color-scheme": scheme,
            "prefers-reduced-motion": "reduce",
        }  # no smooth scrolling
        features = [{"name": name, "value": value} for name, value in wishes.items()]
        chromium.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        chromium.execute_cdp_cmd(
            "Emulation.setEmulatedMedia", {"media": media, "features": features}
        )
        for kind in ("performance", "browser"):
            chromium.get_log(kind)  # what was before is not of this page
        chromium.get(path.as_uri())
        return chromium

    yield opened
    assert (
        chromium.get_log("browser") == []
    )  # nothing a test does may leave an error in the console


def part(browser: webdriver.Chrome, name: str) -> WebElement:
    return browser.find_element(By.CSS_SELECTOR, f'#player [data-part="{name}"]')


def frame(browser: webdriver.Chrome) -> int:
    return int(browser.execute_script("return document.getElementById('player').dataset.frame"))


def hidden(browser: webdriver.Chrome) -> tuple[list[int], list[int]]:
    """Joints drawn as hidden, the same in every body, and frames that are marked as hidden."""
    bodies = browser.execute_script(
        "return [...document.querySelectorAll('#player .body')].map("
        "(body) => [...body.querySelectorAll('.joint')]"
        ".flatMap((joint, v) => getComputedStyle(joint.querySelector('.cross')).display === 'none'"
        " ? [] : [v]))"
    )
    assert all(body == bodies[0] for body in bodies)
    return bodies[0], browser.execute_script(MARKED)


def choose(browser: webdriver.Chrome, benchmark: str, recording: int = 0) -> None:
    Select(part(browser, "recording")).select_by_value(f"{benchmark} {recording}")


def places(browser: webdriver.Chrome) -> list[str]:
    script = (
        "return [...document.querySelectorAll('#player .joint')]"
        ".map((one) => one.getAttribute('transform'))"
    )
    return browser.execute_script(script)


def column(browser: webdriver.Chrome, table: str, number: int) -> list[str]:
    script = (
        "return [...document.querySelectorAll(arguments[0])]"
        ".map((row) => row.cells[arguments[1]].textContent)"
    )
    return browser.execute_script(script, f"{table} tbody tr", number)


def test_the_page_opens_from_disk_without_an_error_and_asks_the_network_for_nothing(
    show: Open,
) -> None:
    browser = show()
    part(browser, "play").click()
    browser.find_element(By.CSS_SELECTOR, "button.run").click()
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    sent = [one["params"] for one in events if one["method"] == "Network.requestWillBeSent"]
    asked = [one["request"]["url"] for one in sent]
    assert any(url.startswith("file:") and url.endswith("index.html") for url in asked)
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []


def test_headings_sort_both_ways_and_back_with_no_value_last(show: Open, tmp_path: Path) -> None:
    cells = [["b", "9.5"], ["a", "–"], ["C", "1,200"], ["a10", "9.5"], ["a9", "10.0 / 3.0"]]
    path = tmp_path / "page.html"
    table = Table("Table", "", ["Name", "Value"], 1, [Line(c) for c in cells])
    path.write_text(page.render("Sorting", of=[table]))
    browser = show(path)
    name, value = browser.find_elements(By.CSS_SELECTOR, "thead th")

    def press(heading: WebElement) -> tuple[str | None, str]:
        heading.find_element(By.TAG_NAME, "button").click()
        return heading.get_attribute("aria-sort"), " ".join(column(browser, "table", 0))

    assert press(value) == ("descending", "C a9 b a10 a")  # b before a10, as they were
    assert press(value) == ("ascending", "b a10 a9 C a")
    assert press(value) == ("none", "b a C a10 a9")
    assert press(name) == ("ascending", "a a9 a10 b C")
    assert value.get_attribute("aria-sort") == "none"
    name.find_element(By.TAG_NAME, "button").send_keys(Keys.ENTER)
    assert (name.get_attribute("aria-sort"), column(browser, "table", 0)) == (
        "descending",
        ["C", "b", "a10", "a9", "a"],
    )


def test_sorting_moves_nothing_but_rows(show: Open) -> None:
    browser = show()
    script = (
        "return JSON.stringify([...document.querySelectorAll('#table-0 th')]"
        ".map((one) => one.offsetWidth))"
    )
    heading = browser.find_elements(By.CSS_SELECTOR, "#table-0 thead button")[-1]
    before, rows = browser.execute_script(script), column(browser, "#table-0", 0)
    heading.click()
    after = json.loads(browser.execute_script(script))
    assert after[:9] == json.loads(before)[:9]
    assert sorted(column(browser, "#table-0", 0)) == sorted(rows) != rows


def test_a_figure_shows_the_run_that_made_it(show: Open, site: Path) -> None:
    browser = show()
    row = next(
        row
        for row in browser.find_elements(By.CSS_SELECTOR, "#table-5 tbody tr")
        if row.text.startswith("fuse both aligned_finetuned")
    )
    joint, *_, together = row.find_elements(By.CSS_SELECTOR, "button.run")
    joint.send_keys(Keys.ENTER)
    dialog = browser.find_element(By.ID, "run")
    assert dialog.is_displayed()
    file, mlflow = dialog.find_elements(By.TAG_NAME, "a")
    assert file.text == "runs/fuse/asma_finetune@ntu60_xsub/joint/metrics.json"
    (linked,) = [Path(str(file.get_attribute("href")).removeprefix("file://"))]
    assert linked == site.parents[1] / file.text
    assert json.loads(linked.read_text())["stage"] == "fuse"
    assert str(mlflow.get_attribute("href")).startswith("http://127.0.0.1:5000/#/")
    search = "tags.recipe = 'asma_finetune' and tags.benchmark = 'ntu60_xsub'"
    for words in ("seed\n1", "epochs\n3", search, "make ui", "10.00 / 20.00"):
        assert words in dialog.text
    ActionChains(browser).send_keys(Keys.ESCAPE).perform()
    assert not dialog.is_displayed()
    assert browser.switch_to.active_element == joint

    together.click()
    shown = [link.text for link in dialog.find_elements(By.TAG_NAME, "a") if link.text != "MLflow"]
    members = [
        f"runs/fuse/asma_finetune@ntu60_xsub/{stream}/metrics.json"
        for stream in ("joint", "bone", "motion")
    ]
    assert shown == ["runs/ensemble/metrics.json", *members]
    dialog.find_element(By.CSS_SELECTOR, "form button").click()
    assert not dialog.is_displayed()


def test_the_player_moves_when_it_plays_and_stands_when_it_is_paused(show: Open) -> None:
    browser = show()
    first = frame(browser)
    time.sleep(0.3)
    assert frame(browser) == first  # it does not start by itself
    still = places(browser)
    Select(part(browser, "speed")).select_by_visible_text("2 ×")
    part(browser, "play").click()
    seen: set[int] = set()
    end = time.monotonic() + 10
    while len(seen) < 4 and time.monotonic() < end:
        seen.add(frame(browser))
    assert len(seen) == 4
    part(browser, "play").click()
    assert part(browser, "play").text == "Play"
    stopped, moved = frame(browser), places(browser)
    assert moved != still
    time.sleep(0.3)
    assert (frame(browser), places(browser)) == (stopped, moved)


def test_the_player_can_be_scrubbed_and_has_keys(show: Open) -> None:
    browser = show()
    scrub, picture = part(browser, "frame"), part(browser, "bodies")
    browser.execute_script(
        "arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", scrub
    )
    ActionChains(browser).move_to_element(scrub).click().perform()  # its middle
    assert frame(browser) in (9, 10)
    for target in (scrub, picture):
        for key, expected in (
            (Keys.HOME, 0),
            (Keys.ARROW_RIGHT, 1),
            (Keys.ARROW_RIGHT, 2),
            (Keys.ARROW_LEFT, 1),
            (Keys.END, 19),
            (Keys.ARROW_RIGHT, 19),
        ):
            target.send_keys(key)
            assert frame(browser) == expected
            assert part(browser, "place").text == f"frame {expected + 1} of 20"
            head = browser.find_element(By.CSS_SELECTOR, "#player .playhead").get_attribute("x1")
            assert float(str(head)) == expected
    playing = "return document.getElementById('player').dataset.playing"
    for now in ("true", "false"):
        picture.send_keys(Keys.SPACE)
        assert browser.execute_script(playing) == now
    outline = "return getComputedStyle(arguments[0]).outlineStyle"
    assert browser.execute_script(outline, picture) == "solid"  # the focus can be seen


def test_the_bodies_turn_by_dragging_and_by_keys(show: Open) -> None:
    browser = show()
    picture = part(browser, "bodies")
    front = places(browser)
    picture.send_keys(Keys.SHIFT + Keys.ARROW_LEFT)
    turned, still = places(browser), frame(browser)
    assert turned != front
    assert frame(browser) == still
    part(browser, "front").click()
    assert places(browser) == front
    ActionChains(browser).drag_and_drop_by_offset(picture, 60, 20).perform()
    dragged = places(browser)
    assert dragged not in (front, turned)
    ActionChains(browser).move_by_offset(30, 0).perform()  # no button is down
    assert places(browser) == dragged


@pytest.mark.parametrize("benchmark", ["demo_ntu_xsub", "ntu60_xsub"])
def test_the_masks_that_are_shown_are_those_of_the_masking_code(
    show: Open, illustrate: Illustrate, benchmark: str
) -> None:
    browser = show()
    layout, bodies, T = {"demo_ntu_xsub": ("kinect_v2", 2, 20), "ntu60_xsub": ("kinect_v1", 1, 30)}[
        benchmark
    ]
    joints = skeleton.load(layout)
    shown = illustrate(benchmark, layout, bodies, frames=T)["recordings"]
    for index, recording in enumerate(shown):
        choose(browser, benchmark, index)
        for encoder in ("lowdeg_highmot", "highdeg_lowmot"):
            Select(part(browser, "encoder")).select_by_value(encoder)
            how, draw = masking.Mask(joints=9, frames=6), Generator().manual_seed(5 + index)
            degree, movement = masking.strategy(encoder)
            kept = masking.choose_joints(degree, how, joints, draw).tolist()
            seen = masking.choose_frames(movement, how, tensor([recording["motion"]]), draw)[
                0
            ].tolist()
            assert hidden(browser) == (
                [v for v in range(len(joints)) if v not in kept],
                [t for t in range(T) if t not in seen],
            )
            told = browser.execute_script(
                SCRUB, part(browser, "frame"), part(browser, "bodies"), part(browser, "state")
            )
            assert told == [
                [t not in seen, f"Frame {t + 1} is hidden from {encoder}." if t not in seen else ""]
                for t in range(T)
            ]
    Select(part(browser, "encoder")).select_by_value("")
    assert hidden(browser) == ([], [])


def test_every_layout_and_number_of_bodies_is_drawn_where_the_json_says(
    show: Open, illustrate: Illustrate
) -> None:
    browser = show()
    for benchmark, layout, bodies, T in (
        ("demo_ntu_xsub", "kinect_v2", 2, 20),
        ("ntu60_xsub", "kinect_v1", 1, 30),
    ):
        choose(browser, benchmark)
        told = illustrate(benchmark, layout, bodies, frames=T)
        V = len(told["joints"])
        drawn = browser.find_elements(By.CSS_SELECTOR, "#player .body")
        assert len(drawn) == bodies
        for body in drawn:
            assert len(body.find_elements(By.CSS_SELECTOR, ".joint")) == V
            assert len(body.find_elements(By.CSS_SELECTOR, ".bone")) == V - 1
        names = browser.execute_script(
            "return [...arguments[0].querySelectorAll('title')].map((one) => one.textContent)",
            drawn[0],
        )
        assert names == told["joints"]
        part(browser, "bodies").send_keys(Keys.END)

        # Upright and seen from the front heights in the picture are those in metres, by one scale.
        units = np.frombuffer(base64.b64decode(told["recordings"][0]["xyz"]), "<i2").reshape(
            T, V, bodies, 3
        )
        part(browser, "front").click()
        part(browser, "bodies").send_keys(
            Keys.SHIFT + Keys.ARROW_DOWN
        )  # undoes the view from above
        found = np.array(
            [[float(n) for n in re.findall(r"-?[\d.]+", place)] for place in places(browser)]
        )
        found = found.reshape(bodies, V, 2)
        for m in range(bodies):
            height = units[-1, :, m, 1] * told["recordings"][0]["scale"]
            slope, offset = np.polyfit(height, found[m, :, 1], 1)
            assert slope < -10
            np.testing.assert_allclose(found[m, :, 1], slope * height + offset, atol=0.05)
        assert ("stand apart" in part(browser, "legend").text) == (
            bodies == 2
        )  # each is centred by itself
        assert found.min() > 0
        assert (found.max(axis=(0, 1)) < (480, 320)).all()
    assert "(demonstration)" not in part(browser, "title").text
    choose(browser, "demo_ntu_xsub")
    assert "(demonstration)" in part(browser, "title").text


def test_a_body_that_is_not_there_is_not_drawn(show: Open) -> None:
    browser = show()
    second = browser.find_elements(By.CSS_SELECTOR, "#player .body")[1]
    part(browser, "bodies").send_keys(Keys.HOME)
    assert not second.is_displayed()  # it comes after a quarter of the clip
    part(browser, "bodies").send_keys(Keys.END)
    assert second.is_displayed()


@pytest.mark.parametrize("seen", [True, False])
def test_a_recording_opens_in_the_middle_of_its_motion_where_somebody_is_whole(
    show: Open, illustrate: Illustrate, tmp_path: Path, seen: bool
) -> None:
    player = illustrate("demo_ntu_xsub", bodies=1)
    first = player["recordings"][0]
    T = first["frames"]
    xyz = np.frombuffer(base64.b64decode(first["xyz"]), "<i2").reshape(T, -1).copy()
    xyz[: 3 if seen else T] = 0  # nobody
    xyz[3] //= 10  # half of the way from nobody to somebody
    first["xyz"] = base64.b64encode(xyz.tobytes()).decode()
    first["motion"] = [9.0, 9.0, 9.0, 9.0, *[0.5] * 6, *[1.0] * 3, *[0.0] * (T - 13)]
    path = tmp_path / "page.html"
    # half of the motion from frame 4 on has passed at number 9; with frame 9 hidden it is the next
    for frames, expected in (([10], 9), ([9, 10], 8)):
        first["masks"]["lowdeg_highmot"] = {"joints": [], "frames": frames}
        first |= staged(xyz.reshape(T, -1, 1, 3) * 0.001, first["motion"], first["masks"])
        path.write_text(page.render("Player", players={"demo_ntu_xsub": player}))
        browser = show(path)
        assert frame(browser) == (expected if seen else 0)
    if seen:
        part(browser, "bodies").send_keys(Keys.HOME)
        assert "nobody is found" in part(browser, "state").text
        assert (
            "scale to 1.0" in part(browser, "height").text
        )  # whoever appears does not set the scale


def test_predictions_are_bars_with_the_true_class_marked(show: Open) -> None:
    browser = show()
    shown = "#player .predictions article:not([hidden]) li"
    first, second = browser.find_elements(By.CSS_SELECTOR, shown)
    assert [first.text, second.text] == ["✓ wave\n70.0 %", "kick\n20.0 %"]
    widths = browser.execute_script(
        "return [...document.querySelectorAll('#player article:not([hidden]) .bar')].map("
        "(bar) => parseFloat(getComputedStyle(bar, '::after').width) / bar.clientWidth)"
    )
    np.testing.assert_allclose(widths, [0.7, 0.2], atol=0.01)
    Select(part(browser, "recording")).select_by_index(1)
    assert "✓ </script><b>clap is not among them." in part(browser, "predictions").text


def test_joints_can_be_drawn_by_activation(show: Open, illustrate: Illustrate) -> None:
    browser = show()
    radii = (
        "return [...document.querySelectorAll('#player [data-body=\"0\"] circle')]"
        ".map((one) => one.r.baseVal.value)"
    )
    assert len(set(browser.execute_script(radii))) == 1
    part(browser, "activation").click()
    shares = illustrate("demo_ntu_xsub")["recordings"][0]["activation"]["lowdeg_highmot"]
    drawn = np.argsort(browser.execute_script(radii))
    assert drawn.tolist() == np.argsort(np.float32(shares)).tolist()
    told = browser.execute_script(
        "return [...document.querySelectorAll('#player [data-body=\"0\"] .name')]"
        ".flatMap((one) => getComputedStyle(one).display === 'none' ? [] : [one.textContent])"
    )
    joints = skeleton.load("kinect_v2").joints
    assert len(told) == 3 and joints[int(np.argmax(shares))] in told
    assert sum(shares[joints.index(name)] for name in told) > sum(sorted(shares)[-5:]) / 2


def test_a_phone_shows_it_without_scrolling_sideways_and_in_letters_that_can_be_read(
    show: Open,
) -> None:
    browser = show(width=390)
    assert browser.execute_script("return document.scrollingElement.scrollWidth") <= 390
    small = browser.execute_script(
        """const found = [];
        for (const one of document.querySelectorAll("body *:not(script, svg, svg *)")) {
          const own = [...one.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
          const least = one.matches("kbd, code") ? 13.5 : 15;
          const size = parseFloat(getComputedStyle(one).fontSize);
          if (own && size < least) found.push(one.outerHTML.slice(0, 80));
        }
        return found"""
    )
    assert small == []
    table = browser.find_element(By.CSS_SELECTOR, "#table-3 .scroll")
    wide, left = browser.execute_script(
        """const [box] = arguments;
        box.scrollLeft = 150;
        const first = box.querySelector("tbody th").getBoundingClientRect().left;
        return [box.scrollWidth > box.clientWidth, first - box.getBoundingClientRect().left]""",
        table,
    )
    assert (wide, left) == (True, 0)  # it scrolls in its own box and the first column stays


@pytest.mark.parametrize("width", [1440, 390])
def test_nothing_of_a_table_or_of_the_first_picture_is_cut(show: Open, width: int) -> None:
    browser = show(width=width)
    assert browser.execute_script("return document.scrollingElement.scrollWidth") <= width
    boxes = browser.execute_script(
        """return [...document.querySelectorAll("main .scroll:has(table)")].map((box) => {
          const cell = box.querySelector("tbody th");
          const cells = [...box.querySelectorAll("th, td")];
          const cut = cells.filter((one) => one.scrollWidth > one.clientWidth + 1);
          return [box.ariaLabel, box.scrollWidth - box.clientWidth, getComputedStyle(box).overflowX,
            getComputedStyle(cell).position, cut.length];
        })"""
    )
    assert len(boxes) == 9
    for name, beyond, overflow, first, cut in boxes:
        assert (overflow, first, cut) == ("auto", "sticky", 0), name
        if width == 1440 or name in ("demo_ntu_xsub (demonstration)", "ntu60_xsub"):
            assert beyond <= 0, name  # where it fits, nothing has to be scrolled
    bars = browser.execute_script(
        """return [...document.querySelectorAll(".bars li")].map((one) => {
          const track = one.querySelector(".track"), box = track.getBoundingClientRect();
          const fill = parseFloat(getComputedStyle(track, "::before").width) / box.width;
          return [fill, parseFloat(getComputedStyle(track, "::after").left) / box.width,
            one.getBoundingClientRect().right];
        })"""
    )
    assert [bar[0] for bar in bars] == pytest.approx([0.4] * (len(bars) - 1) + [0.66], abs=0.01)
    assert [bar[1] for bar in bars] == pytest.approx([0.05] * len(bars), abs=0.01)
    assert max(bar[2] for bar in bars) <= width


def test_print_shows_everything_but_controls(show: Open) -> None:
    browser = show(media="print")
    seen = browser.execute_script(
        "return [...document.querySelectorAll('figure svg')].map((one) => one.checkVisibility())"
    )
    assert seen == [True] * 6
    for name in ("play", "speed", "recording", "encoder", "frame"):
        assert not part(browser, name).is_displayed(), name
    for name in ("bodies", "motion", "legend", "predictions"):
        assert part(browser, name).is_displayed(), name
    assert not browser.find_element(By.TAG_NAME, "nav").is_displayed()
    show(media="print", width=720)  # a sheet of A4 within its margins
    cut = browser.execute_script(
        "return [...document.querySelectorAll('main .scroll')]"
        ".map((one) => one.scrollWidth - one.clientWidth)"
    )
    assert max(cut) <= 1  # of rounding


def every_verdict() -> list[claims.Tested]:
    """A claim that holds, one that does not, one that cannot be told, one that was not run."""
    better = Comparison(2.0, 1.0, 3.0, 0.001, 0.001, 3)
    found = [[better], [better._replace(difference=-2.0)], [better._replace(p_seeds=0.5)], []]
    tested = [
        claims.Tested(
            "a", "A.", "Table 1", "a_xsub", [("one against two", None, None, c) for c in own]
        )
        for own in found
    ]
    verdicts = [claims.HOLDS, claims.FAILS, claims.OPEN, claims.ABSENT]
    assert [one.verdict for one in tested] == verdicts
    return tested


def contrast(first: str, second: str) -> float:
    """Contrast of two CSS colours, 1 to 21, by WCAG 2."""

    def luminance(colour: str) -> float:
        linear = np.array([float(n) / 255 for n in re.findall(r"[\d.]+", colour)[:3]])
        linear = np.where(linear <= 0.04045, linear / 12.92, ((linear + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    dark, light = sorted(map(luminance, (first, second)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_ground(show: Open, scheme: str, tmp_path: Path) -> None:
    assert contrast("rgb(0, 0, 0)", "rgb(255, 255, 255)") == pytest.approx(21)
    path = tmp_path / "claims.html"
    path.write_text(page.render("Claims", names={"a_xsub": "a_xsub"}, claims=every_verdict()))
    for browser in (show(path, scheme=scheme), show(scheme=scheme)):
        pairs = browser.execute_script(
            """const found = new Set();
            const none = "script, noscript *, svg, svg *, option, optgroup, template";
            for (const one of document.querySelectorAll(`body *:not(${none})`)) {
              const said = (node) => node.nodeType === 3 && node.data.trim();
              if (![...one.childNodes].some(said)) continue;
              const painted = (under) => getComputedStyle(under).backgroundColor;
              let under = one;
              while (painted(under) === "rgba(0, 0, 0, 0)") under = under.parentElement;
              found.add([getComputedStyle(one).color, painted(under)].join("|"));
            }
            return [...found]"""
        )
        for pair in pairs:
            text, ground = pair.split("|")
            assert contrast(text, ground) >= 4.5, pair
        ground = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
        assert (contrast(ground, "rgb(0, 0, 0)") > 10) == (scheme == "light")


def test_a_page_of_claims_and_tables_needs_no_player(show: Open, tmp_path: Path) -> None:
    run = Run("pretrain/lowdeg_highmot@ntu60_xsub/joint", {"seed": 1})
    table = Table(
        "Pairs", "", ["Pair", "3s"], 1, [Line(["low", "1.0 ± 0.1"], runs={1: [run, run]})]
    )
    path = tmp_path / "ablations.html"
    holds, *_ = every_verdict()
    names = {"a_xsub": "a_xsub"}
    path.write_text(page.render("Ablations", of=[table], names=names, claims=[holds]))
    browser = show(path)
    told = browser.find_element(By.ID, "claims").text
    assert "✓ holds One against two: +2.0 points (+1.0 to +3.0)." in told
    assert browser.find_elements(By.ID, "player") == []
    browser.find_element(By.CSS_SELECTOR, "button.run").click()
    assert "together with" in browser.find_element(By.ID, "run").text
