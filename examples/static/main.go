// A web application: `/` says its version, `/healthz` whether it works.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	version := os.Getenv("VERSION")
	http.HandleFunc("/", func(answer http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(answer, "version %s\n", version)
	})
	http.HandleFunc("/healthz", func(answer http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(answer, "ok")
	})
	server := &http.Server{Addr: ":3000", ReadHeaderTimeout: 10 * time.Second}

	// SIGTERM: no new connections, what is under way is answered, then the end.
	stop, ended := make(chan os.Signal, 1), make(chan error)
	signal.Notify(stop, syscall.SIGTERM, os.Interrupt)
	go func() {
		<-stop
		within, cancel := context.WithTimeout(context.Background(), 8*time.Second)
		defer cancel()
		ended <- server.Shutdown(within)
	}()

	log.Printf("version %s listens on %s", version, server.Addr)
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		log.Fatal(err)
	}
	if err := <-ended; err != nil {
		log.Fatal(err)
	}
}
