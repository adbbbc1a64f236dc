-- Stands before each of the other scripts: now in epoch milliseconds, as given, or the server's where `given` is ''.
local function clock(given)
  if given ~= '' then
    return tonumber(given)
  end
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

