"""The report in a real browser: its policy, colours, a phone, motion, a large model."""

import pytest

from adaptive_attention_tiling.visualization.inspection_report import render_inspection


def test_the_policy_stops_what_should_not_be_there(browser, address):
    context = browser.new_context()
    page = context.new_page()
    page.goto(address)
    stopped = page.evaluate("""async () => {
        const stopped = [];
        const note = violation => stopped.push(violation.effectiveDirective);
        document.addEventListener("securitypolicyviolation", note);
        const script = document.createElement("script");
        script.textContent = "window.taken = true";
        const picture = document.createElement("img");
        picture.src = "http://127.0.0.1:9/x.png";
        document.body.append(script, picture);
        await fetch("http://127.0.0.1:9/").catch(() => null);
        await new Promise(done => setTimeout(done, 50));
        return [stopped, window.taken === undefined];
    }""")
    context.close()
    assert set(stopped[0]) == {"script-src-elem", "img-src", "connect-src"}
    assert stopped[1]


# Every piece of text in sight: its colour, and the ground that it stands on.
CONTRASTS = """() => {
  const luminance = ([r, g, b]) => {
    const line = c => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
    return 0.2126 * line(r) + 0.7152 * line(g) + 0.0722 * line(b);
  };
  const parts = text => text.match(/[\\d.]+/g).map(Number);
  const ground = element => {
    const trial = element.closest(".trial");
    const circle = trial && trial.querySelector("circle:not(.chosen)");
    if (circle) return parts(getComputedStyle(circle).fill);
    for (let at = element; at; at = at.parentElement) {
      const colour = parts(getComputedStyle(at).backgroundColor);
      if (colour.length === 3 || colour[3] > 0) return colour;
    }
  };
  const found = [];
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const element = walk.currentNode.parentElement;
    if (!walk.currentNode.data.trim() || !element.checkVisibility()) continue;
    if (element.closest("script, title, .skip, td.unknown")) continue;
    const style = getComputedStyle(element);
    const ink = parts(element.closest("svg") ? style.fill : style.color);
    const [low, high] = [luminance(ink), luminance(ground(element))].sort((a, b) => a - b);
    found.push([(high + 0.05) / (low + 0.05), walk.currentNode.data.trim().slice(0, 30)]);
  }
  return found;
}"""


@pytest.mark.parametrize("colours", ["light", "dark"])
def test_text_stands_out(opened, colours):
    page = opened("", colours)
    for place in ("#overview", "#map-sink_mass", "#map-budget.0.25", "#1-2-entropy@119"):
        page.goto(page.url.partition("#")[0] + place)
        page.wait_for_function("() => document.querySelector('nav [aria-current]')")
        found = page.evaluate(CONTRASTS)
        assert len(found) > 20
        assert [one for one in found if one[0] < 4.5] == []


def test_the_switch_overrides_the_colours_of_the_system(opened):
    page = opened("#map-sink_mass", "light")

    def ground():
        return page.evaluate("getComputedStyle(document.body).backgroundColor")

    light = ground()
    page.select_option("#colours", "dark")
    dark = ground()
    assert light != dark
    page.emulate_media(color_scheme="dark")
    page.select_option("#colours", "")
    assert ground() == dark
    page.select_option("#colours", "light")
    assert ground() == light
    page.select_option("#colours", "dark")
    page.emulate_media(media="print")
    assert ground() == light
    assert not page.is_visible("header")


SMALL = """all => all.filter(e => e.checkVisibility()).map(e => e.getBoundingClientRect())
    .filter(box => box.width < 24 || box.height < 24).length"""


def test_a_phone_scrolls_down_only(opened):
    for place in ("#overview", "#map-sink_mass", "#map-budget.0.25", "#3-1"):
        page = opened(place, width=360, height=740)
        assert page.evaluate("document.documentElement.scrollWidth") == 360, place
        targets = "nav a, button, select, td[role=gridcell], a.button"
        assert page.eval_on_selector_all(targets, SMALL) == 0, place


def test_nothing_moves_for_those_who_want_that(opened):
    page = opened("#map-sink_mass")
    page.emulate_media(reduced_motion="reduce")
    moving = """() => [...document.querySelectorAll("*")].filter(
        e => parseFloat(getComputedStyle(e).transitionDuration) > 0).length"""
    assert page.evaluate(moving) == 0
    page.emulate_media(reduced_motion="no-preference")
    assert page.evaluate(moving) == 4 * 3


def test_a_large_model_opens_at_once(browser, make_document, tmp_path):
    path = tmp_path / "large.html"
    path.write_text(render_inspection(make_document(30, 9, 4096)), encoding="utf-8")
    assert path.stat().st_size < 10e6
    for place in ("#overview", "#map-entropy", "#12-3@4095"):
        page = browser.new_page()
        metrics = page.context.new_cdp_session(page)
        # The processor's time, which other work on this machine does not lengthen.
        metrics.send("Performance.enable", {"timeDomain": "threadTicks"})
        page.goto(path.as_uri() + place, timeout=120_000)
        page.wait_for_selector("main h1")
        page.evaluate("new Promise(done => requestAnimationFrame(() => setTimeout(done)))")
        told = {
            one["name"]: one["value"] for one in metrics.send("Performance.getMetrics")["metrics"]
        }
        assert 0.01 < told["TaskDuration"] < 2, place
        page.close()
