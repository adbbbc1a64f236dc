-- Keeps the permits of running jobs from lapsing.
--
-- ARGV: now (ms; '' = the server's), for how long (ms), then a limit's name and a permit for each.
local now = tonumber(ARGV[1])
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end
for i = 3, #ARGV, 2 do
  -- Also one that Redis forgot: its job is within all the same.
  redis.call('ZADD', 'indostar:limit:' .. ARGV[i] .. ':held', now + tonumber(ARGV[2]), ARGV[i + 1])
end
