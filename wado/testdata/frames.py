#!/usr/bin/python3
"""Print one JSON line per DICOM file: the SHA-256 of each frame as stored.

pydicom is the oracle of the frames test. Native frames come in little endian,
frames of one bit a pixel are shifted to begin with a byte. A video is one frame.
"""
import hashlib, json, sys
import pydicom
from pydicom.encaps import generate_pixel_data_fragment, generate_pixel_data_frame


NATIVE = {"1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2"}


def frames(ds):
    syntax = ds.file_meta.TransferSyntaxUID
    count = int(ds.get("NumberOfFrames") or 1)
    if syntax not in NATIVE:
        if syntax.startswith("1.2.840.10008.1.2.4.10"):
            return [b"".join(generate_pixel_data_fragment(ds.PixelData))]
        return list(generate_pixel_data_frame(ds.PixelData, count))
    element = next(ds[k] for k in ("PixelData", "FloatPixelData", "DoubleFloatPixelData") if k in ds)
    data = element.value
    if not ds.is_little_endian and element.VR != "OB":
        unit = {"OW": 2, "OF": 4, "OD": 8}[element.VR]
        data = b"".join(data[i:i + unit][::-1] for i in range(0, len(data), unit))
    samples = ds.SamplesPerPixel
    pixels = ds.Rows * ds.Columns * samples
    if ds.PhotometricInterpretation == "YBR_FULL_422":
        pixels = pixels // 3 * 2
    bits = pixels * ds.BitsAllocated
    if bits % 8 == 0:
        return [data[i * bits // 8:(i + 1) * bits // 8] for i in range(count)]
    whole = int.from_bytes(data, "little")
    return [((whole >> (i * bits)) & ((1 << bits) - 1)).to_bytes((bits + 7) // 8, "little") for i in range(count)]


for name in sys.argv[1:]:
    try:
        line = {"file": name, "frames": [hashlib.sha256(f).hexdigest() for f in frames(pydicom.dcmread(name))]}
    except Exception as e:  # a file without pixel data, or one that pydicom cannot take apart
        line = {"file": name, "error": f"{type(e).__name__}: {e}"[:200]}
    print(json.dumps(line), flush=True)
