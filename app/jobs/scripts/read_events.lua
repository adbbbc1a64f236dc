-- Reads on in the stream of events: as many entries as fit the reader's memory, and what it takes to see that some are
-- missing.
--
-- KEYS: events, generation.  ARGV: id after which to read, most entries, most bytes (one entry may exceed them), a random
-- word for the generation, in case there is none.
-- Returns the generation, how many entries there ever were, how many there are, the last one's id, 1 where more is left
-- to read, and the entries.
redis.call('SET', KEYS[2], ARGV[4], 'NX')
local reply = {redis.call('GET', KEYS[2]), 0, 0, '0-0', 0}
if redis.call('EXISTS', KEYS[1]) == 0 then
  return reply
end
local info = redis.call('XINFO', 'STREAM', KEYS[1])
for n = 1, #info, 2 do
  if info[n] == 'entries-added' then
    reply[2] = info[n + 1]
  elseif info[n] == 'length' then
    reply[3] = info[n + 1]
  elseif info[n] == 'last-generated-id' then
    reply[4] = info[n + 1]
  end
end
local after, most, bytes = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local read = 0
while read < most and bytes > 0 do
  -- One by one: how large an entry is shows only when it has been read.
  local entry = redis.call('XRANGE', KEYS[1], '(' .. after, '+', 'COUNT', 1)[1]
  if not entry then
    return reply
  end
  after = entry[1]
  read = read + 1
  reply[#reply + 1] = entry
  for _, word in ipairs(entry[2]) do
    bytes = bytes - #word
  end
end
reply[5] = after ~= reply[4] and 1 or 0
return reply
