"""Reads the DICOM files named on standard input with pydicom and says in JSON
what is in them, and whether every element could be read."""
import json
import sys
import warnings

import pydicom

warnings.simplefilter("ignore")
KEYS = {"Study": "StudyInstanceUID", "Series": "SeriesInstanceUID", "Instance": "SOPInstanceUID",
        "Name": "PatientName", "ID": "PatientID", "Date": "StudyDate", "Accession": "AccessionNumber"}


def describe(name):
    out = {}
    try:
        data = pydicom.dcmread(name)
        for key, keyword in KEYS.items():
            out[key] = str(data.get(keyword) or "").strip()
        for _ in data.iterall():
            pass
        out["Readable"] = True
    except Exception as error:  # whatever it is, the test wants to hear of it
        out["Readable"] = False
        out["Error"] = type(error).__name__ + ": " + str(error)[:200]
    return out


json.dump({name: describe(name) for name in sys.stdin.read().split("\n") if name}, sys.stdout)
