"""What is made of a measurement: a document, and whatever is printed and drawn of it."""

from inferctl.bench.report.document import read_report, schema
from inferctl.bench.report.making import make_report
from inferctl.bench.report.outputs import Outputs
from inferctl.bench.report.record import Report
from inferctl.bench.report.surroundings import read_service
from inferctl.bench.report.table import render

__all__ = ["Outputs", "Report", "make_report", "read_report", "read_service", "render", "schema"]
