"""The side panel in a real JupyterLab, as a person uses it."""

from __future__ import annotations

from playwright.sync_api import expect

from tests.browser.lab import Lab

IRIS = [
    "%load_ext jupyter_mlsvc",
    """%%remote_exec --session iris
from sklearn import datasets, svm
iris = datasets.load_iris()
names = {0: "I. setosa", 1: "I. versicolor", 2: "I. virginica"}
clf = svm.SVC().fit(iris.data, iris.target)""",
    """%%publish Iris V1.0 -i flower_data:vector -o iris_species:vector
iris_species = [names[x] for x in clf.predict([flower_data])]""",
    "%consume Iris V1.0 flower_data=[7, 3.2, 4.7, 1.4]",
]


def test_what_a_notebook_publishes_appears_in_the_panel(lab: Lab) -> None:
    file = lab.notebook("iris", IRIS)
    lab.open_lab("iris", file)
    panel = lab.show_panel()
    lab.run_all(len(IRIS))
    expect(lab.output(3)).to_contain_text("I. versicolor")
    expect(panel.get_by_text("Iris", exact=True)).to_be_visible(timeout=20_000)
    lab.shot("published")
