# syntax=docker/dockerfile:1

# docker build --build-arg VERSION=$(git describe --tags --always) --tag pillion .

ARG GO_VERSION=1.26
FROM --platform=$BUILDPLATFORM golang:${GO_VERSION} AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN --mount=type=cache,target=/go/pkg/mod go mod download
COPY . .
ARG VERSION=unknown
ARG TARGETOS TARGETARCH
# One static binary. The same sources, Go and VERSION make the same bytes wherever it is built: no path, no history, no build id is in it.
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH \
    go build -trimpath -buildvcs=false -ldflags "-s -w -buildid= -X main.release=$VERSION" -o /out/pillion ./cmd/pillion

# Nothing else but the certificates that public servers are checked with: no shell, no package that ages.
FROM scratch
ARG VERSION=unknown
LABEL org.opencontainers.image.title=pillion \
      org.opencontainers.image.description="A session sidecar for HTTP apps in any language" \
      org.opencontainers.image.licenses=Apache-2.0 \
      org.opencontainers.image.version=$VERSION
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /out/pillion /pillion
# A number, so that Kubernetes can see for itself that this is not root (runAsNonRoot).
USER 65532:65532
EXPOSE 8080
# Of a sidecar; its admin address is PILLION_ADMIN. Fronts and control planes have another one: see examples/compose.
HEALTHCHECK --interval=5s --timeout=3s --start-period=15s --start-interval=500ms CMD ["/pillion", "health"]
# SIGTERM, the default, drains: allow 30 s (docker stop --time 30, stop_grace_period, terminationGracePeriodSeconds).
ENTRYPOINT ["/pillion"]
CMD ["sidecar"]
