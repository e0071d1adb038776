// A visitor counter in a Pillion session: the header contract with nothing but the JDK. Run it by: java Counter.java
import com.sun.net.httpserver.*;
import java.io.IOException;
import java.net.*;
import java.net.http.*;
import java.util.*;
import java.util.concurrent.Executors;
import java.util.stream.*;
import static java.nio.charset.StandardCharsets.UTF_8;

public class Counter {
    static final String PAGE = """
        <!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Counter</title>
        <body style="font:1.1em/1.6 system-ui,sans-serif;max-width:30em;margin:12vh auto;padding:0 1em;color:#1d2939;background:#fcfcfd">
        <p>Served by <strong>%s</strong><p style="font-size:5em;line-height:1;margin:0">%d<p>is what your session counts.
        <p><a href="/counter">Count</a> &middot; <a href="/get">Session</a> &middot; <a href="/login?user=ada">Log in</a> &middot; <a href="/logout">Log out</a>
        """;
    static final HttpClient API = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build();

    public static void main(String[] args) throws IOException {
        System.setProperty("sun.net.httpserver.nodelay", "true"); // or head and body of an answer wait for each other
        System.setProperty("sun.net.httpserver.idleInterval", "600"); // idle connections are the sidecar's to close
        var address = URI.create("http://" + env("ADDR", "127.0.0.1:3000"));
        var server = HttpServer.create(new InetSocketAddress(address.getHost(), address.getPort()), 128);
        server.setExecutor(Executors.newCachedThreadPool());
        server.createContext("/", x -> { try (x) { serve(x); } catch (InterruptedException stopping) { } });
        server.start();
        System.out.println("listening on " + address.getHost() + ":" + server.getAddress().getPort());
    }

    static void serve(HttpExchange x) throws IOException, InterruptedException {
        x.getRequestBody().readAllBytes();
        String text;
        try { text = read(x.getRequestHeaders()); }
        catch (IOException | IllegalArgumentException e) { answer(x, 503, "{\"error\":\"session not readable\"}"); return; }
        var q = Stream.of(Objects.toString(x.getRequestURI().getRawQuery(), "").split("&")).map(pair -> pair.split("=", 2)).filter(pair -> pair.length == 2)
            .collect(Collectors.toMap(pair -> pair[0], pair -> URLDecoder.decode(pair[1], UTF_8), (first, second) -> first));
        String key = q.getOrDefault("k", "").isEmpty() ? "count" : q.get("k"), user = quote(q.getOrDefault("user", ""));
        Thread.sleep(whole(q.get("delay")));
        switch (x.getRequestURI().getPath()) {
            case "/" -> answer(x, 200, PAGE.formatted(env("NAME", "Java"), number(text, "count")), "Content-Type", "text/html; charset=utf-8");
            case "/counter" -> set(x, key, "" + (number(text, key) + 1));
            case "/get" -> answer(x, 200, text);
            case "/set" -> set(x, key, quote(q.getOrDefault("v", "")));
            case "/size" -> set(x, "blob", quote("x".repeat((int) Math.min(whole(q.get("bytes")), 1 << 20))));
            case "/login" -> set(x, "user", user, "Pillion-Subject", user, "Pillion-Op", "renew");
            case "/logout", "/invalidate" -> answer(x, 200, "{\"value\":null}", "Pillion-Op", "destroy");
            default -> answer(x, 404, "{\"error\":\"no such page\"}");
        }
    }

    /** The session is in the header, or on the loopback API when it is too large for one. */
    static String read(Headers headers) throws IOException, InterruptedException {
        if (!Objects.toString(headers.getFirst("Pillion-Meta")).contains("inline=?0"))
            return Objects.toString(headers.getFirst("Pillion-Session"), "{}");
        var handle = Objects.toString(headers.getFirst("Pillion-Handle"), "");
        var request = HttpRequest.newBuilder(URI.create(env("PILLION_API", "") + "/v1/session")).setHeader("Pillion-Handle", handle);
        var response = API.send(request.build(), HttpResponse.BodyHandlers.ofString());
        if (response.statusCode() != 200) throw new IOException("GET /v1/session: " + response.statusCode());
        return response.body();
    }

    /** The whole number of a name at the top of the session, else 0. An app of your own has a JSON library for this. */
    static long number(String session, String name) {
        String member = quote(name) + ":";
        for (int i = 0, depth = 0; i < session.length(); i++) {
            char c = session.charAt(i);
            depth += c == '{' || c == '[' ? 1 : c == '}' || c == ']' ? -1 : 0;
            if (c != '"') continue;
            if (depth == 1 && session.startsWith(member, i)) return whole(session.substring(i + member.length()).split("[,}]", 2)[0]);
            for (i++; session.charAt(i) != '"'; i++) if (session.charAt(i) == '\\') i++;
        }
        return 0;
    }

    /** A JSON string in ASCII, as a header needs it: Java servers drop a header with other characters. */
    static String quote(String text) {
        return text.chars().mapToObj(c -> c == '"' || c == '\\' ? "\\" + (char) c : c < ' ' || c > '~' ? "\\u%04x".formatted(c) : "" + (char) c)
            .collect(Collectors.joining("", "\"", "\""));
    }

    static void set(HttpExchange x, String name, String json, String... fields) throws IOException {
        x.getResponseHeaders().set("Pillion-Patch", "{" + quote(name) + ":" + json + "}");
        answer(x, 200, "{\"value\":" + json + "}", fields);
    }

    static void answer(HttpExchange x, int status, String text, String... fields) throws IOException {
        x.getResponseHeaders().set("Content-Type", "application/json");
        for (int i = 0; i < fields.length; i += 2) x.getResponseHeaders().set(fields[i], fields[i + 1]);
        x.sendResponseHeaders(status, text.getBytes(UTF_8).length);
        x.getResponseBody().write(text.getBytes(UTF_8));
    }

    static long whole(String text) { return text != null && text.matches("\\d{1,18}") ? Long.parseLong(text) : 0; }
    static String env(String name, String otherwise) { return System.getenv().getOrDefault(name, otherwise); }
}
