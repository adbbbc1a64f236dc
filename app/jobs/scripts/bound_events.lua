-- Cuts off the oldest events where the stream has grown beyond what it may have.
--
-- KEYS: events, turn.  ARGV: most bytes, for how long (ms) nobody else need look.
-- Returns how many entries were cut off.
if not redis.call('SET', KEYS[2], '', 'NX', 'PX', ARGV[2]) then
  return 0
end
local most, cut = tonumber(ARGV[1]), 0
-- Entries differ in size, so that the same share of them need not be the same share of the memory.
for _ = 1, 100 do
  -- All of it is counted: the oldest entries, which a sample would be taken from, may be much smaller than the rest.
  local bytes = redis.call('MEMORY', 'USAGE', KEYS[1], 'SAMPLES', 0)
  if not bytes or bytes <= most then
    break
  end
  local length = redis.call('XLEN', KEYS[1])
  local kept = math.floor(length * math.max(0.5, 0.95 * most / bytes))
  cut = cut + redis.call('XTRIM', KEYS[1], 'MAXLEN', kept)
end
return cut
