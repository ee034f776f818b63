// Command fakegcs serves Google Cloud Storage from a folder whose subfolders are the buckets.
//
// It is fake-gcs-server with the uploads of the XML interface added, which that program lacks and which the object_store
// crate writes with: PUT of an object with x-goog-if-generation-match, and multipart uploads. Each is turned into the
// upload of the JSON interface that means the same.
// The requests: https://cloud.google.com/storage/docs/xml-api/overview
package main

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"flag"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync"

	"github.com/fsouza/fake-gcs-server/fakestorage"
)

func main() {
	address := flag.String("address", "127.0.0.1:4443", "`host:port` to listen on")
	root := flag.String("root", "", "`folder` with a folder for each bucket")
	flag.Parse()
	server, err := fakestorage.NewServerWithOptions(fakestorage.Options{
		NoListener:  true,
		StorageRoot: *root,
		PublicHost:  *address,
		ExternalURL: "http://" + *address,
	})
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(http.ListenAndServe(*address, &xmlUploads{next: server.HTTPHandler(), parts: map[string]map[int][]byte{}}))
}

// xmlUploads answers the XML interface's uploads and leaves everything else to next.
type xmlUploads struct {
	next http.Handler

	mutex sync.Mutex
	last  int
	// Received parts by number, by upload.
	parts map[string]map[int][]byte
}

func (x *xmlUploads) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	bucket, object, ok := object(r.URL)
	query := r.URL.Query()
	upload := query.Get("uploadId")
	switch {
	case !ok:
		x.next.ServeHTTP(w, r)
	case r.Method == http.MethodPost && query.Has("uploads"):
		answer(w, struct {
			XMLName  xml.Name `xml:"InitiateMultipartUploadResult"`
			UploadID string   `xml:"UploadId"`
		}{UploadID: x.begin()})
	case r.Method == http.MethodPut && upload != "":
		x.receive(w, r, upload, query.Get("partNumber"))
	case r.Method == http.MethodPost && upload != "":
		x.complete(w, r, upload, bucket, object)
	case r.Method == http.MethodDelete && upload != "":
		x.take(upload)
		w.WriteHeader(http.StatusNoContent)
	case r.Method == http.MethodPut:
		if _, ok := x.insert(w, r, bucket, object, r.Body); ok {
			w.WriteHeader(http.StatusOK)
		}
	default:
		x.next.ServeHTTP(w, r)
	}
}

// object splits a path of the XML interface; the JSON interface's prefixes are no buckets.
func object(u *url.URL) (bucket, object string, ok bool) {
	bucket, escaped, _ := strings.Cut(strings.TrimPrefix(u.EscapedPath(), "/"), "/")
	object, err := url.PathUnescape(escaped)
	switch bucket {
	case "storage", "upload", "download", "batch", "_internal":
		return "", "", false
	}
	return bucket, object, err == nil && object != ""
}

func (x *xmlUploads) begin() string {
	x.mutex.Lock()
	defer x.mutex.Unlock()
	x.last++
	id := strconv.Itoa(x.last)
	x.parts[id] = map[int][]byte{}
	return id
}

// take removes an upload and returns its parts, nil if there is none.
func (x *xmlUploads) take(upload string) map[int][]byte {
	x.mutex.Lock()
	defer x.mutex.Unlock()
	parts := x.parts[upload]
	delete(x.parts, upload)
	return parts
}

func (x *xmlUploads) receive(w http.ResponseWriter, r *http.Request, upload, part string) {
	number, err := strconv.Atoi(part)
	if err != nil {
		http.Error(w, "partNumber: "+err.Error(), http.StatusBadRequest)
		return
	}
	data, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	x.mutex.Lock()
	defer x.mutex.Unlock()
	parts, ok := x.parts[upload]
	if !ok {
		http.Error(w, "no such upload", http.StatusNotFound)
		return
	}
	parts[number] = data
	w.Header().Set("ETag", fmt.Sprintf(`"%s-%d"`, upload, number))
}

// complete joins the parts that the request lists, in its order.
func (x *xmlUploads) complete(w http.ResponseWriter, r *http.Request, upload, bucket, object string) {
	var listed struct {
		Part []struct{ PartNumber int }
	}
	if err := xml.NewDecoder(r.Body).Decode(&listed); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	parts := x.take(upload)
	var whole bytes.Buffer
	for _, part := range listed.Part {
		data, ok := parts[part.PartNumber]
		if !ok {
			http.Error(w, fmt.Sprintf("part %d was not received", part.PartNumber), http.StatusBadRequest)
			return
		}
		whole.Write(data)
	}
	if etag, ok := x.insert(w, r, bucket, object, &whole); ok {
		answer(w, struct {
			XMLName xml.Name `xml:"CompleteMultipartUploadResult"`
			ETag    string
		}{ETag: etag})
	}
}

// insert stores an object through the JSON interface and sets the headers of the XML interface's answer. When it answers
// false, it has written the whole answer: a failure.
func (x *xmlUploads) insert(w http.ResponseWriter, r *http.Request, bucket, object string, content io.Reader) (string, bool) {
	query := url.Values{"uploadType": {"media"}, "name": {object}}
	if generation := r.Header.Get("x-goog-if-generation-match"); generation != "" {
		query.Set("ifGenerationMatch", generation)
	}
	target := "/upload/storage/v1/b/" + bucket + "/o?" + query.Encode()
	upload := httptest.NewRequestWithContext(r.Context(), http.MethodPost, target, content)
	upload.Host = r.Host
	upload.Header = r.Header
	recorder := httptest.NewRecorder()
	x.next.ServeHTTP(recorder, upload)

	if recorder.Code != http.StatusOK {
		w.WriteHeader(recorder.Code)
		w.Write(recorder.Body.Bytes())
		return "", false
	}
	var stored struct{ Generation, Etag string }
	if err := json.Unmarshal(recorder.Body.Bytes(), &stored); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return "", false
	}
	etag := strconv.Quote(strings.Trim(stored.Etag, `"`))
	w.Header().Set("ETag", etag)
	w.Header().Set("x-goog-generation", stored.Generation)
	return etag, true
}

func answer(w http.ResponseWriter, value any) {
	w.Header().Set("Content-Type", "application/xml")
	if err := xml.NewEncoder(w).Encode(value); err != nil {
		log.Print(err)
	}
}
