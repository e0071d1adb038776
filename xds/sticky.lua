-- Sends a visitor to the sidecar that is named at the end of the session id, "<token>-<node>.<route>". The route's filter context maps
-- each route to an address, and ":cookie" to the cookie's name. Names are compared, not matched: "-" is an operator in patterns.
function envoy_on_request(handle)
  local cookies = handle:headers():get("cookie")
  if not cookies then return end
  local fleet = handle:filterContext()
  local name = fleet:get(":cookie")
  if not name then return end
  for pair in string.gmatch(cookies, "[^;]+") do
    local at = string.find(pair, "=", 1, true)
    if at and string.match(string.sub(pair, 1, at - 1), "^%s*(.-)%s*$") == name then
      local route = string.match(pair, '%.([a-z0-9-]+)"?%s*$', at)
      local address = route and fleet:get(route)
      if address then
        handle:setUpstreamOverrideHost(address, false) -- not strict: a sidecar that is away is no error
        return
      end
    end
  end
end
