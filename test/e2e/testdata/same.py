"""Reads pairs of DICOM files named on standard input, one name a line, with
pydicom and says of how many both are the same: transfer syntax, every element,
and the bytes of the pixels. With the argument "lenient", a pair counts as the
same when pydicom reads neither."""
import sys
import warnings

import pydicom

warnings.simplefilter("ignore")


def read(name):
    try:
        data = pydicom.dcmread(name)
        return data, [(str(e.tag), e.VR, str(e.value) if e.VR != "OB" else e.value) for e in data.iterall()]
    except Exception as error:
        if sys.argv[1:] != ["lenient"]:
            raise
        return None, type(error).__name__


names = [n for n in sys.stdin.read().split("\n") if n]
same = 0
for i in range(0, len(names), 2):
    (a, inA), (b, inB) = read(names[i]), read(names[i + 1])
    if a is not None and b is not None and a.file_meta.TransferSyntaxUID != b.file_meta.TransferSyntaxUID:
        print(f"pair {i // 2}: {a.file_meta.TransferSyntaxUID} and {b.file_meta.TransferSyntaxUID}")
    elif a is not None and b is not None and a.get("PixelData") != b.get("PixelData"):
        print(f"pair {i // 2}: other pixels")
    elif inA != inB:
        print(f"pair {i // 2}: other elements")
    else:
        same += 1
print(f"{same} pairs are the same")
