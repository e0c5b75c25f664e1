"""The service of the walkthrough: which iris is it?"""

from __future__ import annotations

import json
from typing import Any

FIT = """\
from sklearn import datasets, svm
iris = datasets.load_iris()
names = {0: 'I. setosa', 1: 'I. versicolor', 2: 'I. virginica'}
clf = svm.SVC()
clf.fit(iris.data, iris.target)
"""

NAMES = {0: "I. setosa", 1: "I. versicolor", 2: "I. virginica"}

CODE = "iris_species = [names[x] for x in clf.predict([flower_data])]"

# As the article has it: one sample as a flat list, which scikit-learn itself refuses.
FLAT_CODE = "iris_species = [names[x] for x in clf.predict(flower_data)]"

FLOWERS = ([7, 3.2, 4.7, 1.4], [3, 2.6, 3, 2.5], [5.1, 3.5, 1.4, 0.2])

BODIES = tuple(json.dumps({"flower_data": list(flower)}).encode() for flower in FLOWERS)


def fit() -> dict[str, Any]:
    """Run the walkthrough's training; ``clf`` and ``names`` are what the service needs."""
    namespace: dict[str, Any] = {}
    exec(FIT, namespace)
    return namespace


def expected_species() -> list[list[str]]:
    """Right answers for ``FLOWERS``, from the model itself."""
    trained = fit()
    return [[trained["names"][x] for x in trained["clf"].predict([f])] for f in FLOWERS]
