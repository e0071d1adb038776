import de.javakaffee.web.msm.MemcachedBackupSessionManager;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.util.Enumeration;
import java.util.concurrent.atomic.AtomicLong;
import javax.servlet.http.HttpServlet;
import javax.servlet.http.HttpServletRequest;
import javax.servlet.http.HttpServletResponse;
import javax.servlet.http.HttpSession;
import org.apache.catalina.Context;
import org.apache.catalina.connector.Connector;
import org.apache.catalina.startup.Tomcat;

/**
 * The benchmark's app as a servlet. / reads a session of 1 KB, /write changes one attribute of it, /fill makes it, /seen tells what was counted.
 * Arguments: how sessions are kept (memory, sticky, shared, pillion), and msm's memcachedNodes. The two of msm are set as its manual
 * recommends; pillion has no session in Tomcat, and reads and changes the one in the request's and the answer's headers.
 */
public class Server extends HttpServlet {
    static final int ITEMS = 10;
    static final byte[] PAGE = "<p>page".repeat(147).substring(0, 1024).getBytes(StandardCharsets.US_ASCII);

    final boolean headers;
    final AtomicLong requests = new AtomicLong(), sessions = new AtomicLong(), bytes = new AtomicLong();

    Server(boolean headers) { this.headers = headers; }

    public static void main(String[] args) throws Exception {
        String base = Files.createTempDirectory("tomcat").toString();
        Tomcat tomcat = new Tomcat();
        tomcat.setBaseDir(base);
        Connector connector = new Connector("HTTP/1.1");
        connector.setPort(0);
        connector.setProperty("address", "127.0.0.1");
        connector.setProperty("maxKeepAliveRequests", "-1");
        tomcat.setConnector(connector);
        Context context = tomcat.addContext("", base);
        switch (args[0]) {
            case "sticky":
                tomcat.getEngine().setJvmRoute("t1");
                context.setManager(manager(args[1], true));
                break;
            case "shared":
                context.setManager(manager(args[1], false));
                break;
            default:
        }
        Tomcat.addServlet(context, "app", new Server(args[0].equals("pillion")));
        context.addServletMappingDecoded("/", "app");
        tomcat.start();
        System.out.println("listening on 127.0.0.1:" + connector.getLocalPort());
        tomcat.getServer().await();
    }

    static MemcachedBackupSessionManager manager(String nodes, boolean sticky) throws Exception {
        MemcachedBackupSessionManager m = new MemcachedBackupSessionManager();
        m.setMemcachedNodes(nodes);
        m.setSticky(sticky);
        m.setSessionBackupAsync(sticky);
        if (!sticky) m.setLockingMode("auto");
        m.setRequestUriIgnorePattern(".*\\.(ico|png|gif|jpg|css|js)$");
        m.setTranscoderFactoryClass("de.javakaffee.web.msm.serializer.kryo.KryoTranscoderFactory");
        return m;
    }

    @Override
    protected void doGet(HttpServletRequest request, HttpServletResponse response) throws IOException {
        String path = request.getRequestURI();
        if (path.equals("/seen")) {
            response.getWriter().print(requests + " " + sessions + " " + bytes);
            return;
        }
        long n = requests.incrementAndGet();
        long size = headers ? serve(path, n, request.getHeader("Pillion-Session"), response) : serve(path, n, request);
        if (size > 0) {
            sessions.incrementAndGet();
            bytes.addAndGet(size);
        }
        response.setContentType("text/html; charset=utf-8");
        response.setContentLength(PAGE.length);
        response.getOutputStream().write(PAGE);
    }

    /** The session as Tomcat's: each attribute is read. */
    long serve(String path, long n, HttpServletRequest request) {
        HttpSession session = request.getSession(path.equals("/fill"));
        if (session == null) return 0;
        if (path.equals("/fill")) {
            for (int i = 0; i < ITEMS; i++) session.setAttribute("item" + i, item(i));
        }
        long size = 0;
        for (Enumeration<String> names = session.getAttributeNames(); names.hasMoreElements(); ) {
            String name = names.nextElement();
            size += name.length() + session.getAttribute(name).toString().length();
        }
        if (path.equals("/write")) session.setAttribute("n", n);
        return size;
    }

    /** The session as Pillion's. */
    long serve(String path, long n, String session, HttpServletResponse response) {
        if (path.equals("/write")) response.setHeader("Pillion-Patch", "{\"n\":" + n + "}");
        if (path.equals("/fill")) {
            StringBuilder patch = new StringBuilder("{");
            for (int i = 0; i < ITEMS; i++) patch.append(i == 0 ? "" : ",").append("\"item").append(i).append("\":\"").append(item(i)).append('"');
            response.setHeader("Pillion-Patch", patch.append('}').toString());
        }
        return session == null || session.equals("{}") ? 0 : session.length();
    }

    static String item(int i) {
        return String.format("sku %08x, article %016x, %d pieces, added %d, in the warehouse of the third street", i * 7919, i * 104729L, i, 1_700_000_000 + i);
    }
}
