"""Hosts of which any page may be read without a question: documentation, papers, code.

Only those where what stands in an address cannot be read by whoever writes a page there. Sites that anybody
may open below one name (`*.github.io`, `*.readthedocs.io`) are not among them, since some show their owners
which addresses were asked for.
"""

HOSTS = (
    "huggingface.co",
    "hf.co",
    "arxiv.org",
    "*.arxiv.org",
    "openreview.net",
    "aclanthology.org",
    "proceedings.mlr.press",
    "proceedings.neurips.cc",
    "papers.nips.cc",
    "openaccess.thecvf.com",
    "www.semanticscholar.org",
    "openalex.org",
    "doi.org",
    "github.com",
    "raw.githubusercontent.com",
    "pypi.org",
    "docs.python.org",
    "peps.python.org",
    "pytorch.org",
    "docs.pytorch.org",
    "numpy.org",
    "scipy.org",
    "docs.scipy.org",
    "scikit-learn.org",
    "pandas.pydata.org",
    "arrow.apache.org",
    "docs.pola.rs",
    "duckdb.org",
    "docs.nvidia.com",
    "developer.nvidia.com",
    "slurm.schedmd.com",
    "docs.docker.com",
    "en.wikipedia.org",
)
