"""Of a panel in an executed notebook its static output stays, and other widgets stay as they are."""

from __future__ import annotations

from typing import Any

import nbformat

from farm_notebook.cli.panels import leave_static

VIEW = {"application/vnd.jupyter.widget-view+json": {"model_id": "a"}, "text/plain": "Widget()"}
STATIC = {"text/html": '<style></style>\n<div class="farm-static farm-static-1a">It.</div>'}
LEFT = {"text/html": '<style></style>\n<div class="farm-static">It.</div>'}


def notebook(*cells: list[dict[str, Any]]) -> Any:
    made = [
        nbformat.v4.new_code_cell(
            "panel", outputs=[nbformat.v4.new_output("display_data", data=data) for data in outputs]
        )
        for outputs in cells
    ]
    return nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_markdown_cell("A text"), *made], metadata={"widgets": {"state": {}}}
    )


def shown(notebook: Any) -> list[list[Any]]:
    return [[output.data for output in cell.outputs] for cell in notebook.cells[1:]]


def test_a_panel_leaves_its_static_output_and_neither_state_nor_id() -> None:
    executed = notebook([{"text/plain": "before"}, VIEW, STATIC], [])
    leave_static(executed)
    assert shown(executed) == [[{"text/plain": "before"}, LEFT], []]
    assert "widgets" not in executed.metadata


def test_another_widget_stays_with_the_state_of_all() -> None:
    executed = notebook([VIEW, STATIC], [VIEW, {"text/html": "<p>below</p>"}], [VIEW])
    leave_static(executed)
    assert shown(executed) == [[LEFT], [VIEW, {"text/html": "<p>below</p>"}], [VIEW]]
    assert "widgets" in executed.metadata


def test_a_notebook_without_widgets_stays_as_it_is() -> None:
    executed = notebook([{"text/plain": "1"}])
    del executed.metadata["widgets"]
    leave_static(executed)
    assert shown(executed) == [[{"text/plain": "1"}]]
