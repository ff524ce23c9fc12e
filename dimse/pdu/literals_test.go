package pdu_test

// One literal per PDU, a line of it per field.
var literals = map[string][]byte{
	"A-ASSOCIATE-RQ": []byte("" +
		// type, reserved, length 332
		"\x01\x00\x00\x00\x01L" +
		// protocol version 1, reserved
		"\x00\x01\x00\x00" +
		// called AE title
		"LUMEN           " +
		// calling AE title
		"TOWER 1         " +
		// reserved, 32 bytes
		"\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00" +
		// 10H application context, length 21
		"\x10\x00\x00\x151.2.840.10008.3.1.1.1" +
		// 20H presentation context, length, id 1, reserved
		" \x00\x00.\x01\x00\x00\x00" +
		// 30H abstract syntax: Verification
		"0\x00\x00\x111.2.840.10008.1.1" +
		// 40H transfer syntax: Implicit VR Little Endian
		"@\x00\x00\x111.2.840.10008.1.2" +
		// 20H presentation context, length, id 3, reserved
		" \x00\x00O\x03\x00\x00\x00" +
		// 30H abstract syntax: Study Root FIND
		"0\x00\x00\x1b1.2.840.10008.5.1.4.1.2.2.1" +
		// 40H transfer syntax: Explicit VR Little Endian
		"@\x00\x00\x131.2.840.10008.1.2.1" +
		// 40H transfer syntax: Implicit VR Little Endian
		"@\x00\x00\x111.2.840.10008.1.2" +
		// 50H user information, length 102
		"P\x00\x00f" +
		// 51H maximum length 16384
		"Q\x00\x00\x04\x00\x00@\x00" +
		// 52H implementation class UID
		"R\x00\x00\x071.2.3.4" +
		// 53H asynchronous operations: invoked 5, performed 1
		"S\x00\x00\x04\x00\x05\x00\x01" +
		// 54H role selection: class 1.2, SCU 0, SCP 1
		"T\x00\x00\x07\x00\x031.2\x00\x01" +
		// 55H implementation version name
		"U\x00\x00\x07TOWER_2" +
		// 56H extended negotiation: class 1.3, information 1 0 1
		"V\x00\x00\x08\x00\x031.3\x01\x00\x01" +
		// 57H common extended negotiation: class 1.3, service class 1.4, related 1.5 and 1.6
		"W\x00\x00\x16\x00\x031.3\x00\x031.4\x00\x0a\x00\x031.5\x00\x031.6" +
		// 58H user identity: type 2, response requested, joe, pw
		"X\x00\x00\x0b\x02\x01\x00\x03joe\x00\x02pw"),
	"A-ASSOCIATE-AC": []byte("" +
		// type, reserved, length 191
		"\x02\x00\x00\x00\x00\xbf" +
		// protocol version 1, reserved
		"\x00\x01\x00\x00" +
		// called AE title
		"LUMEN           " +
		// calling AE title
		"TOWER 1         " +
		// reserved, 32 bytes
		"\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00" +
		// 10H application context, length 21
		"\x10\x00\x00\x151.2.840.10008.3.1.1.1" +
		// 21H presentation context, length, id 1, reserved, result 0 accepted, reserved
		"!\x00\x00\x19\x01\x00\x00\x00" +
		// 40H transfer syntax: Implicit VR Little Endian
		"@\x00\x00\x111.2.840.10008.1.2" +
		// 21H presentation context, length, id 3, reserved, result 3 abstract syntax not supported, reserved
		"!\x00\x00\x08\x03\x00\x03\x00" +
		// 40H transfer syntax, without meaning
		"@\x00\x00\x00" +
		// 50H user information, length 53
		"P\x00\x005" +
		// 51H maximum length 131072
		"Q\x00\x00\x04\x00\x02\x00\x00" +
		// 52H implementation class UID
		"R\x00\x00\x071.2.3.4" +
		// 53H asynchronous operations: 1, 1
		"S\x00\x00\x04\x00\x01\x00\x01" +
		// 54H role selection: class 1.2, SCU 0, SCP 1
		"T\x00\x00\x07\x00\x031.2\x00\x01" +
		// 55H implementation version name
		"U\x00\x00\x05LUMEN" +
		// 59H user identity response, empty
		"Y\x00\x00\x02\x00\x00"),
	"A-ASSOCIATE-RJ": []byte("" +
		// type, reserved, length 4
		"\x03\x00\x00\x00\x00\x04" +
		// reserved, result 1 permanent, source 1 user, reason 3 calling AE title not recognised
		"\x00\x01\x01\x03"),
	"A-RELEASE-RQ": []byte("" +
		// type, reserved, length 4
		"\x05\x00\x00\x00\x00\x04" +
		// reserved
		"\x00\x00\x00\x00"),
	"A-RELEASE-RP": []byte("" +
		// type, reserved, length 4
		"\x06\x00\x00\x00\x00\x04" +
		// reserved
		"\x00\x00\x00\x00"),
	"A-ABORT": []byte("" +
		// type, reserved, length 4
		"\x07\x00\x00\x00\x00\x04" +
		// reserved, reserved, source 2 provider, reason 2 unexpected PDU
		"\x00\x00\x02\x02"),
}
