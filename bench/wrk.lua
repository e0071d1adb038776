-- Visitors with browsers: each connection asks for one session after the other. Arguments: the path, and a file with a cookie in each line.
local requests, last = {}, 0

function init(args)
	wrk.headers["User-Agent"] = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
	wrk.headers["Accept"] = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
	wrk.headers["Accept-Language"] = "en-GB,en;q=0.5"
	wrk.headers["Accept-Encoding"] = "gzip, deflate, br, zstd"
	wrk.headers["Sec-Fetch-Mode"] = "navigate"
	for cookie in io.lines(args[2]) do
		wrk.headers["Cookie"] = "theme=dark; " .. cookie
		requests[#requests + 1] = wrk.format("GET", args[1])
	end
end

function request()
	last = last % #requests + 1
	return requests[last]
end

function done(summary, latency)
	local e = summary.errors
	io.write(string.format("done %d %d %d %d %d %d\n", summary.requests, summary.duration,
		latency:percentile(50), latency:percentile(99), latency:percentile(99.9), e.connect + e.read + e.write + e.status + e.timeout))
end
