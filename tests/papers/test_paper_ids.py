"""Every form in which people and services write the id of a paper."""

from __future__ import annotations

import pytest

from ml_intern.errors import ToolError
from ml_intern.papers.ids import parse_id, try_id

SHA = "649def34f8be52c8b66281af98ae884c09aef38b"

FORMS = {
    "2106.09685": ("arxiv", "2106.09685", None),
    " 2106.09685v2 ": ("arxiv", "2106.09685", 2),
    "0704.0001": ("arxiv", "0704.0001", None),
    "arXiv:2106.09685v1": ("arxiv", "2106.09685", 1),
    "ARXIV: 2106.09685": ("arxiv", "2106.09685", None),
    "astro-ph/0601001": ("arxiv", "astro-ph/0601001", None),
    "astro-ph/0601001v3": ("arxiv", "astro-ph/0601001", 3),
    "math.GT/0309136": ("arxiv", "math/0309136", None),
    "arXiv:hep-th/9901001v12": ("arxiv", "hep-th/9901001", 12),
    "https://arxiv.org/abs/2106.09685": ("arxiv", "2106.09685", None),
    "http://arxiv.org/abs/astro-ph/0601001v1": ("arxiv", "astro-ph/0601001", 1),
    "https://arxiv.org/pdf/2106.09685v2.pdf": ("arxiv", "2106.09685", 2),
    "https://arxiv.org/pdf/2106.09685": ("arxiv", "2106.09685", None),
    "https://www.arxiv.org/html/2106.09685v2#S3": ("arxiv", "2106.09685", 2),
    "https://export.arxiv.org/e-print/astro-ph/0601001": ("arxiv", "astro-ph/0601001", None),
    "https://arxiv.org/src/2106.09685?download=1": ("arxiv", "2106.09685", None),
    "arxiv.org/abs/2106.09685": ("arxiv", "2106.09685", None),
    "https://ar5iv.labs.arxiv.org/html/2106.09685": ("arxiv", "2106.09685", None),
    "https://www.alphaxiv.org/overview/2106.09685": ("arxiv", "2106.09685", None),
    "https://huggingface.co/papers/2106.09685": ("arxiv", "2106.09685", None),
    "hf.co/papers/2106.09685": ("arxiv", "2106.09685", None),
    "10.48550/arXiv.2106.09685": ("arxiv", "2106.09685", None),
    "https://doi.org/10.48550/ARXIV.2106.09685": ("arxiv", "2106.09685", None),
    "10.1093/MIND/LIX.236.433": ("doi", "10.1093/mind/lix.236.433", None),
    "doi:10.1145/3544585.3544600": ("doi", "10.1145/3544585.3544600", None),
    "https://doi.org/10.1145/3544585.3544600": ("doi", "10.1145/3544585.3544600", None),
    "https://dx.doi.org/10.1002/(SICI)1097%2D0258": ("doi", "10.1002/(sici)1097-0258", None),
    "https://dl.acm.org/doi/10.1145/3544585.3544600": ("doi", "10.1145/3544585.3544600", None),
    SHA: ("s2", SHA, None),
    SHA.upper(): ("s2", SHA, None),
    f"https://www.semanticscholar.org/paper/Some-Title/{SHA}": ("s2", SHA, None),
    f"https://api.semanticscholar.org/graph/v1/paper/{SHA}": ("s2", SHA, None),
    "CorpusId:211530585": ("corpus", "211530585", None),
    "W2741809807": ("openalex", "W2741809807", None),
    "https://openalex.org/W2741809807": ("openalex", "W2741809807", None),
    "ACL:P19-1001": ("acl", "P19-1001", None),
    "https://aclanthology.org/2020.acl-main.703.pdf": ("acl", "2020.acl-main.703", None),
    "https://pubmed.ncbi.nlm.nih.gov/19872477/": ("pmid", "19872477", None),
    "PMID:19872477": ("pmid", "19872477", None),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_understood(form: str) -> None:
    found = parse_id(form)
    assert (found.scheme, found.value, found.version) == FORMS[form]


@pytest.mark.parametrize("form", FORMS)
def test_an_id_that_is_shown_is_understood_again(form: str) -> None:
    found = parse_id(form)
    assert parse_id(str(found)) == found


@pytest.mark.parametrize(
    "text",
    ["", "abc", "attention is all you need", "2106", "2106.0968", "0808.05394", "2113.00001", "1234.567890", "astro-ph/060100", "10.1/x", "W1",
     "https://example.com/paper", "https://arxiv.org/list/cs.LG/new", "https://arxiv.org/", "arXiv:", "doi:abc",
     "CorpusId:abc", "http://[bad", "x" * 1000, "2106.09685v", "2106.09685vv1"],
)  # fmt: skip
def test_what_is_no_id_is_told_with_a_hint(text: str) -> None:
    assert try_id(text) is None
    with pytest.raises(ToolError, match=r"is no id of a paper\. Give one like 2106\.09685"):
        parse_id(text)


def test_versions_of_a_paper_are_one_paper() -> None:
    first, second = parse_id("2106.09685v1"), parse_id("https://arxiv.org/abs/2106.09685v2")
    assert first != second and first.key == second.key and first.bare == second.bare


def test_services_get_their_own_spelling() -> None:
    assert parse_id("2106.09685v2").semantic_scholar == "ARXIV:2106.09685"
    assert parse_id("2106.09685").openalex == "doi:10.48550/arXiv.2106.09685"
    assert parse_id("10.1145/1.2").semantic_scholar == "DOI:10.1145/1.2"
    assert parse_id("W2741809807").semantic_scholar == ""
    assert parse_id("ACL:P19-1001").openalex == ""
