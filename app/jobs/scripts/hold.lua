-- Keeps the permits of running jobs from lapsing.
--
-- ARGV: now (ms; '' = the server's), for how long (ms), then a limit's name and a permit for each.
local now = clock(ARGV[1])
for i = 3, #ARGV, 2 do
  -- Also one that Redis forgot: its job is within all the same.
  redis.call('ZADD', 'indostar:limit:' .. ARGV[i] .. ':held', now + tonumber(ARGV[2]), ARGV[i + 1])
end
