package wado_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"

	"lumen/access"
	"lumen/store"
	"lumen/wado"
)

// A handler goes under its prefix; whoever asks is recognised per request.
func ExampleNew() {
	var archive *store.Archive // from store.Open
	handler, err := wado.New(wado.Config{
		Archive: archive,
		Principal: func(*http.Request) (access.Principal, error) {
			return access.Principal{}, &access.DeniedError{Reason: "nobody is known here"}
		},
	})
	if err != nil {
		panic(err)
	}
	mux := http.NewServeMux()
	mux.Handle(wado.Prefix+"/", handler)

	w := httptest.NewRecorder()
	mux.ServeHTTP(w, httptest.NewRequest("GET", "/dicom-web/studies?PatientName=M*", nil))
	fmt.Println(w.Code, w.Header().Get("Content-Type"))
	// Output: 403 application/json
}
