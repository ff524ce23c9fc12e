#!/usr/bin/python3
"""Makes testdata/vectors.txt a second time, without our Go code.

Needs the package "cryptography" (Debian: python3-cryptography). Prints the
vectors; `check_vectors.py | diff - vectors.txt` is silent when both agree.
"""
import hashlib
import hmac

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

CHUNK = 16384


def expand(prk, info, length):
    out, block, i = b"", b"", 1
    while len(out) < length:
        block = hmac.new(prk, block + info + bytes([i]), hashlib.sha512).digest()
        out, i = out + block, i + 1
    return out[:length]


def count(first, n):
    return bytes(first + i for i in range(n))


def pattern(n):
    return bytes((i & 255) ^ ((i >> 8) * 3 & 255) ^ ((i >> 16) * 7 & 255) for i in range(n))


def seal(plain):
    header = b"LUMENB\0" + bytes([0, 1, 1]) + (60).to_bytes(2, "big")
    header += count(0xA0, 16) + count(0xB0, 16) + count(0xC0, 16)
    salt = count(0x20, 24)
    label = b"c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM"
    material = expand(count(0, 32), label + b"\0" + salt + header, 76)
    key, base, commitment = material[:32], material[32:44], material[44:]
    out = header + salt + commitment
    for i in range(len(plain) // CHUNK + 1):
        nonce = (int.from_bytes(base, "big") ^ i).to_bytes(12, "big")
        out += AESGCM(key).encrypt(nonce, plain[i * CHUNK : (i + 1) * CHUNK], None)
    return out


for size in (0, 1, 16, 100, CHUNK - 1, CHUNK, CHUNK + 1, 40 * CHUNK):
    b = seal(pattern(size))
    if size <= 100:
        print(size, "hex", b.hex())
    print(size, "sha256", hashlib.sha256(b).hexdigest())
