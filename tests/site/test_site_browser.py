"""The page as a person uses it: headless Chromium opens it from a file, clicks, types and drags."""

import csv
import io
import shutil
from types import SimpleNamespace

import pytest
from aiida.orm import StructureData
from conftest import empty_catalogue, entry_values, linked, prediction_values, rocksalt

from aiida_hardcoat.catalogue.site import build, data
from aiida_hardcoat.data.catalogue import catalogue
from aiida_hardcoat.data.elastic import ElasticData
from aiida_hardcoat.data.prediction import PredictionData

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
playwright = pytest.importorskip("playwright.sync_api", reason="needs `pip install playwright`, without its browsers")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="needs a Chromium, e.g. `apt-get install chromium`"),
]

LABEL = "browsed"
HOSTILE = "<img src=x onerror=\"document.title='owned'\">"
ARGUMENTS = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist"]
METALS = ("Al", "Hf", "Ti", "Zr")


def made_up():
    """Twenty-four entries: four end members and four mixtures of Al and Ti at two levels, in two structures."""
    for fingerprint, shift in (("a" * 16, 0.0), ("b" * 16, 30.0)):
        for place, metal in enumerate(METALS):
            yield {"fractions": {metal: 1.0}, "c11": 450.0 + 20 * place + shift, "level_fingerprint": fingerprint}
        for structure_type in ("B1", "B3"):
            for x in (0.2, 0.4, 0.6, 0.8):
                c11 = 400.0 + 100 * x + shift
                fractions = {"Al": x, "Ti": 1 - x}
                yield {
                    "fractions": fractions,
                    "structure_type": structure_type,
                    "c11": c11,
                    "level_fingerprint": fingerprint,
                    "energy_per_formula": -18.0 + x * (1 - x),
                }


@pytest.fixture(scope="module")
def site(aiida_profile, alloy, tmp_path_factory):
    """The page of the made-up entries and of a finished run."""
    nodes = [alloy.outputs.entry, alloy.outputs.prediction]
    for place, changes in enumerate(made_up()):
        structure = StructureData(ase=rocksalt())
        entry = ElasticData(**entry_values(**changes))
        entry.label = HOSTILE if place == 0 else "ordinary"
        prediction = PredictionData(**prediction_values(changes["fractions"], entry.structure_type, bulk=240.0 + place))
        nodes += [linked(structure, entry), linked(structure, prediction)]
    empty_catalogue(LABEL).add_nodes(nodes)
    folder = tmp_path_factory.mktemp("site") / "page"
    made = build.build_site(folder, label=LABEL, title=HOSTILE, progress=False)
    return SimpleNamespace(url=(folder / "index.html").as_uri(), count=made["entries"], run=alloy.outputs.entry.uuid)


@pytest.fixture(scope="module")
def chromium():
    with playwright.sync_playwright() as engine:
        browser = engine.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def visit(chromium):
    """A function that opens the page, and waits for its maps if need be; what goes wrong while it is open fails."""
    wrong, contexts = [], []

    def open_page(url, maps=False, width=1400, height=900, hold=None, **options):
        context = chromium.new_context(viewport={"width": width, "height": height}, accept_downloads=True, **options)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
        page.on("request", lambda asked: None if local(asked.url) else wrong.append(f"asked for {asked.url}"))
        if hold:
            page.route(*hold)
        page.goto(url, wait_until="commit")  # what is held may be part of what is loaded
        page.wait_for_selector("body[data-maps=ready]" if maps else "body[data-ready]", state="attached")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert wrong == []


def local(url):
    return url.startswith(("file:", "data:", "blob:"))


def shown(page):
    """Number of entries that the table counts."""
    return int(page.locator("#grid").get_attribute("aria-rowcount")) - 1


def wait_for_count(page, count):
    page.wait_for_selector(f'#grid[aria-rowcount="{count + 1}"]')


def texts(page, column):
    """What a column of the rows in sight holds, from the top."""
    place = 1 + page.locator("#grid thead th").evaluate_all(
        "(all, name) => all.findIndex(one => one.dataset.column === name)", column
    )
    return page.locator(f"#grid tbody tr[data-row] td:nth-child({place})").all_inner_texts()


def entry(page):
    """The UUID in the address."""
    return page.evaluate("new URLSearchParams(location.hash.slice(1)).get('entry')")


def open_tab(page, tab):
    page.locator(f"#tab-{tab}").click()
    page.wait_for_selector(f"#detail[data-tab={tab}]")


def test_words_ranges_and_text_filter_the_table(visit, site):
    page = visit(site.url)
    assert shown(page) == site.count
    page.get_by_role("group", name="Structure").get_by_label("B3").check()
    wait_for_count(page, 8)
    assert set(texts(page, "structure_type")) == {"B3"}
    page.get_by_label("x, at least").fill("0.5")
    wait_for_count(page, 4)
    assert all(float(text) >= 0.5 for text in texts(page, "x"))
    page.get_by_label("Search in words").fill("al0.6")
    wait_for_count(page, 2)
    page.locator("#reset").click()
    wait_for_count(page, site.count)
    page.locator("#add-range").select_option("c11")
    page.get_by_label("C11, at least").fill("500")
    page.wait_for_function(
        "count => document.getElementById('grid').getAttribute('aria-rowcount') - 1 < count", arg=site.count
    )
    values = [float(text) for text in texts(page, "c11")]
    assert values
    assert min(values) >= 500
    assert page.locator("#summary").inner_text().startswith(f"{shown(page)} of {site.count}")


def test_a_range_that_is_no_number_is_marked_and_filters_nothing(visit, site):
    page = visit(site.url)
    box = page.get_by_label("x, at most")
    box.fill("half")
    assert box.get_attribute("aria-invalid") == "true"
    assert shown(page) == site.count


def test_click_on_a_heading_sorts_and_again_turns_the_order(visit, site):
    page = visit(site.url)
    heading = page.locator('#grid th[data-column="bulk_modulus"]')
    for direction in ("ascending", "descending"):
        heading.get_by_role("button").click()
        assert heading.get_attribute("aria-sort") == direction
        values = [float(text) for text in texts(page, "bulk_modulus")]
        assert values == sorted(values, reverse=direction == "descending")
        assert len(set(values)) > 1


def test_click_opens_an_entry_and_its_address_leads_back_to_it(visit, site):
    page = visit(site.url)
    page.locator("#grid tbody tr[data-row]").nth(2).click()
    page.wait_for_selector("#detail[data-tab=card]")
    uuid, formula = entry(page), page.locator("#detail-title").inner_text()
    assert uuid
    again = visit(page.url)
    again.wait_for_selector("#detail[data-tab=card]")
    assert entry(again) == uuid
    assert again.locator("#detail-title").inner_text() == formula
    page.locator("#close").click()
    page.wait_for_selector("#detail", state="hidden")
    assert entry(page) is None


def test_keyboard_alone_moves_opens_and_selects(visit, site):
    page = visit(site.url)
    page.locator("#grid").focus()
    for key in ("ArrowDown", "ArrowDown", "ArrowDown", "ArrowUp"):
        page.keyboard.press(key)
    active = page.locator("#grid").get_attribute("aria-activedescendant")
    assert page.locator(f"#{active}").get_attribute("aria-rowindex") == "4"  # the head is row 1
    page.keyboard.press("Space")
    assert page.locator(f"#{active}").get_attribute("aria-selected") == "true"
    page.keyboard.press("Enter")
    page.wait_for_selector("#detail[data-tab=card]")
    uuid = entry(page)
    page.locator("#tab-card").focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_selector("#detail[data-tab=structure]")
    page.keyboard.press("Escape")
    page.wait_for_selector("#detail", state="hidden")
    assert page.evaluate("document.activeElement.id") == "grid"
    page.keyboard.press("End")
    page.keyboard.press("Enter")
    page.wait_for_selector("#detail[data-tab=card]")
    assert entry(page) not in (None, uuid)


def test_every_tab_of_a_finished_run_is_drawn(visit, site):
    page = visit(f"{site.url}#entry={site.run}")
    page.wait_for_selector("#detail[data-tab=card]")
    assert page.locator(".tensor td").count() == 36
    open_tab(page, "structure")
    page.wait_for_selector(".viewer[data-drawn] canvas")
    after = page.locator("#panel .hint").first.inner_text()
    page.get_by_label("Before relaxation").check()
    assert page.locator("#panel .hint").first.inner_text() != after
    open_tab(page, "directional")
    page.wait_for_selector(".surface[data-drawn] canvas")
    open_tab(page, "stresses")
    assert page.locator(".plot.small .scatterlayer").count() == 6
    open_tab(page, "provenance")
    nodes = page.locator("svg.provenance g.node")
    before = nodes.count()
    assert page.locator("svg.provenance g.result").count() >= 2
    page.locator("#workchains").check()
    assert nodes.count() > before
    page.locator(f'g.node[data-uuid="{site.run}"]').focus()
    page.keyboard.press("Enter")
    assert site.run in page.locator(".about").inner_text()
    open_tab(page, "record")
    assert "hardcoat_version" in page.locator("#panel").inner_text()


def test_directional_modulus_is_that_of_the_package(visit, site, alloy):
    from aiida_hardcoat.physics.anisotropy import directional_youngs_modulus

    directions = [[1, 0, 0], [0.6, 0.8, 0], [0.48, 0.6, 0.64]]
    tensor = alloy.outputs.entry.tensor_gpa
    page = visit(site.url)
    drawn = page.evaluate("([tensor, all]) => all.map(Hardcoat.youngsModulus(tensor))", [tensor.tolist(), directions])
    assert drawn == pytest.approx(directional_youngs_modulus(tensor, directions).tolist())


def test_selection_in_a_map_narrows_the_table_and_the_other_maps(visit, site):
    page = visit(site.url, maps=True)
    box = page.locator("#plot-property .nsewdrag").bounding_box()
    page.mouse.move(box["x"] + 2, box["y"] + 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] - 2, steps=8)
    page.mouse.up()
    page.wait_for_selector("#selection:not([hidden])")
    chosen = shown(page)
    assert 0 < chosen < site.count
    assert f"{chosen} selected" in page.locator("#selection").inner_text()
    marked = "id => document.getElementById(id).data.reduce((sum, one) => sum + (one.selectedpoints || []).length, 0)"
    page.wait_for_function(f"([id, count]) => ({marked})(id) === count", arg=["plot-property", chosen])
    page.wait_for_function(f"([id, count]) => ({marked})(id) === count", arg=["plot-parity", chosen])
    page.locator("#map-x").select_option("c11")  # which takes the box away, and nothing else
    page.wait_for_function("document.getElementById('plot-property').layout.xaxis.title.text.startsWith('C')")
    assert f"{chosen} selected" in page.locator("#selection").inner_text()
    page.wait_for_function(f"([id, count]) => ({marked})(id) === count", arg=["plot-property", chosen])
    page.get_by_label("only these").uncheck()
    wait_for_count(page, site.count)
    page.locator("#clear").click()
    page.wait_for_selector("#selection", state="hidden")


def test_what_is_ticked_stays_while_the_maps_are_loaded_and_drawn(visit, site):
    loading = []
    page = visit(site.url, hold=("**/plotly.min.js", lambda route: loading.append(route)))
    page.locator("#grid td.tick input").first.click()
    page.wait_for_function("document.querySelector('script[src*=plotly]')")
    loading.pop().continue_()
    page.wait_for_selector("body[data-maps=ready]", state="attached")
    marked = (
        "document.getElementById('plot-property').data.filter(one => (one.selectedpoints || []).length === 1).length"
    )
    page.wait_for_function(f"{marked} === 1")
    page.locator("#map-x").select_option("c11")
    page.wait_for_function("document.getElementById('plot-property').layout.xaxis.title.text.startsWith('C')")
    assert page.evaluate(marked) == 1
    assert page.locator("#selection").inner_text().startswith("1 selected")


def test_filter_and_ticks_of_the_table_reach_the_maps(visit, site):
    page = visit(site.url, maps=True)
    points = (
        "document.getElementById('plot-property').data.reduce((sum, one) => sum + (one.customdata || []).length, 0)"
    )
    assert page.evaluate(points) == site.count
    page.get_by_role("group", name="System").get_by_label("Hf-N").check()
    page.wait_for_function(f"{points} === 2")
    page.locator("#grid td.tick input").first.click()
    page.wait_for_function(
        "document.getElementById('plot-property').data.some(one => (one.selectedpoints || []).length === 1)"
    )


def test_click_on_a_point_opens_its_entry(visit, site):
    page = visit(site.url, maps=True)
    page.get_by_role("group", name="System").get_by_label("Zr-N").check()
    wait_for_count(page, 2)
    page.wait_for_function("document.querySelectorAll('#plot-property .points path').length === 2")
    point = page.locator("#plot-property .points path").first.bounding_box()
    page.mouse.click(point["x"] + point["width"] / 2, point["y"] + point["height"] / 2)
    page.wait_for_selector("#detail[data-tab=card]")
    assert "Zr" in page.locator("#detail-title").inner_text()


def test_levels_of_theory_have_colours_of_their_own(visit, site):
    page = visit(site.url, maps=True)
    colours = page.evaluate(
        """() => document.getElementById('plot-property').data.filter(one => one.customdata).map(one =>
        [one.marker.color, ...new Set(one.customdata.map(row => Hardcoat.text('level_name', row)))])"""
    )
    assert all(len(group) == 2 for group in colours)  # no trace holds two levels
    assert len({level for _, level in colours}) == len({colour for colour, _ in colours}) == 3
    level = colours[0][1]
    page.locator("#map-level").select_option(level)
    page.wait_for_function(
        """level => document.getElementById('plot-property').data.every(one =>
        (one.customdata || []).every(row => Hardcoat.text('level_name', row) === level))""",
        arg=level,
    )


def test_theme_follows_the_system_and_the_choice_is_kept(visit, site):
    page = visit(site.url, color_scheme="dark")
    html = page.locator("html")
    assert html.get_attribute("data-theme") == "dark"
    page.locator("#theme").click()
    assert html.get_attribute("data-theme") == "light"
    page.reload()
    page.wait_for_selector("body[data-ready]", state="attached")
    assert html.get_attribute("data-theme") == "light"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_contrast(visit, site, scheme):
    page = visit(f"{site.url}#entry={site.run}", color_scheme=scheme)
    page.wait_for_selector("#detail[data-tab=card]")
    colours = page.evaluate(
        "['text', 'faint', 'panel', 'page', 'accent', 'good', 'bad'].map(name => [name, Hardcoat.color(name)])"
    )
    luminance = {name: relative_luminance(colour) for name, colour in colours}
    for name in ("text", "faint", "accent", "good", "bad"):
        for ground in ("panel", "page"):
            high, low = sorted((luminance[name], luminance[ground]), reverse=True)
            assert (high + 0.05) / (low + 0.05) >= 4.5, (name, ground)


def relative_luminance(colour):
    """WCAG 2.1, of #rrggbb."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def test_a_phone_scrolls_sideways_in_the_table_alone(visit, site):
    page = visit(site.url, maps=True, width=360, height=740, has_touch=True, is_mobile=True)
    wide = "document.documentElement.scrollWidth"
    assert page.evaluate(wide) == 360
    for view in ("filters", "maps", "table"):
        page.locator(f".views [data-view={view}]").tap()
        page.wait_for_selector(f"body[data-view={view}]")
        assert page.evaluate(wide) == 360, view
    page.locator("#grid tbody tr[data-row]").first.tap()
    page.wait_for_selector("#detail[data-tab=card]")
    page.evaluate("uuid => { location.hash = '#entry=' + uuid }", site.run)
    for tab in ("structure", "directional", "stresses", "provenance", "record", "card"):
        open_tab(page, tab)
        assert page.evaluate(wide) == 360, tab
        assert page.evaluate("document.getElementById('panel').scrollWidth") == 360, tab


def test_labels_stay_text(visit, site):
    page = visit(site.url)
    assert HOSTILE in page.locator("h1").inner_text()
    uuid = page.evaluate("label => Hardcoat.index.uuid[Hardcoat.index.label.indexOf(label)]", HOSTILE)
    for tab in ("card", "provenance", "record"):
        page.evaluate("([uuid, tab]) => { location.hash = `#entry=${uuid}&tab=${tab}` }", [uuid, tab])
        page.wait_for_selector(f"#detail[data-tab={tab}]")
    assert page.locator("img").count() == 0
    assert page.title() == HOSTILE


def test_an_address_of_no_entry_opens_nothing(visit, site):
    page = visit(f"{site.url}#entry=../../index&tab=card")
    assert page.locator("#detail").is_hidden()
    assert shown(page) == site.count


def test_csv_holds_all_digits_of_what_is_shown(visit, site):
    page = visit(site.url)
    page.get_by_role("group", name="System").get_by_label("Hf-N").check()
    wait_for_count(page, 2)
    with page.expect_download() as download:
        page.locator("#csv").click()
    rows = list(csv.DictReader(io.StringIO(download.value.path().read_text(encoding="utf8"))))
    stored = {node.uuid: node for node in catalogue(LABEL).entries()}
    assert len(rows) == 2
    for row in rows:
        assert row["system"] == "Hf-N"
        assert float(row["bulk_modulus"]) == stored[row["uuid"]].bulk_modulus
        assert float(row["c11"]) == stored[row["uuid"]].c11


def test_columns_are_chosen(visit, site):
    page = visit(site.url)
    assert page.locator('#grid th[data-column="density"]').count() == 0
    page.get_by_text("Columns", exact=True).click()
    page.get_by_role("group", name="Columns").get_by_label("Density").check()
    assert page.locator('#grid th[data-column="density"]').count() == 1
    page.keyboard.press("Escape")
    assert page.get_by_role("group", name="Columns").is_hidden()


def test_ten_thousand_entries(visit, tmp_path):
    """Only the rows in sight are elements, and every row can be reached."""
    count = 10_000
    folder = tmp_path / "page"
    build.write_static(folder, "Many")
    (folder / "data").mkdir()
    build.write_script(
        folder / "data" / "index.js", "receiveIndex", data.index(list(many(count)), "Many", "system", {})
    )
    page = visit((folder / "index.html").as_uri(), maps=True)
    assert shown(page) == count
    assert page.locator("#grid tbody tr[data-row]").count() < 100
    page.locator("#grid").focus()
    page.keyboard.press("End")
    page.wait_for_selector(f'#grid tr[aria-rowindex="{count + 1}"].active')
    page.get_by_label("x, at most").fill("0.25")
    page.wait_for_function(
        "count => document.getElementById('grid').getAttribute('aria-rowcount') - 1 < count", arg=count
    )
    assert shown(page) == sum(row["x"] <= 0.25 for row in many(count))


def many(count):
    """Rows as the search gives them."""
    values = {"label": "ordinary", **dict.fromkeys((*data.TEXTS, *data.NUMBERS, *data.FLAGS), None)}
    for place in range(count):
        moduli = {"bulk_modulus": 200 + place % 101, "shear_modulus": 150 + place % 77, "mixing_energy": None}
        words = {"formula": f"Al{place % 97}Ti", "system": "Al-Ti-N", "structure_type": "B1", "ions": "relaxed"}
        uuid = f"00000000-0000-4000-8000-{place:012d}"
        level = {"level_name": f"ase:level-{place % 3}", "relaxed_structure_type": "B1", "stable": True}
        yield {**values, "uuid": uuid, "x": place % 97 / 96, **words, **moduli, **level, "stable_with_tolerance": True}
