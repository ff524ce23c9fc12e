"""Checks that every file that the DICOMDIRs in folders list is there and is what
they say, and that they list every file."""
import os
import sys
import warnings

import pydicom
from pydicom.fileset import FileSet

warnings.simplefilter("ignore")
for root in sys.argv[1:]:
    directory = pydicom.dcmread(os.path.join(root, "DICOMDIR"))
    listed = 0
    for record in directory.DirectoryRecordSequence:
        if "ReferencedFileID" in record:
            file_id = record.ReferencedFileID
            parts = [file_id] if isinstance(file_id, str) else list(file_id)
            data = pydicom.dcmread(os.path.join(root, *parts), stop_before_pixels=True)
            assert data.file_meta.MediaStorageSOPInstanceUID == record.ReferencedSOPInstanceUIDInFile
            listed += 1
    found = sum(len(names) for _, _, names in os.walk(root)) - 1
    assert listed == found, f"{listed} listed, {found} found"
    files = FileSet(directory)
    assert len([f.load() for f in files]) == found, f"a FileSet has {len(files)} files, {found} found"
