-- For wrk: send each request of a file once. The file holds whole HTTP requests of one length, so
-- that reading them costs the load generator nothing while it runs.
--   wrk ... -s load.lua URL -- FILE BYTES-EACH
local threads = {}
local requests = {}
sent = 0

function setup(thread)
	table.insert(threads, thread)
end

function init(args)
	local file = assert(io.open(args[1], "rb"))
	while true do
		local request = file:read(tonumber(args[2]))
		if not request then break end
		requests[#requests + 1] = request
	end
	file:close()
end

function request()
	sent = sent + 1
	return requests[(sent - 1) % #requests + 1]
end

function done(summary, latency)
	local sent_by_all = 0
	for _, thread in ipairs(threads) do
		sent_by_all = sent_by_all + thread:get("sent")
	end
	local e = summary.errors
	io.write(string.format(
		'\nRESULT {"requests":%d,"seconds":%.6f,"refused":%d,"broken":%d,"timeouts":%d,"sent":%d,' ..
		'"p50_ms":%.3f,"p99_ms":%.3f,"max_ms":%.3f}\n',
		summary.requests, summary.duration / 1e6, e.status, e.connect + e.read + e.write, e.timeout,
		sent_by_all, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3, latency.max / 1e3))
end
