-- Gives back the jobs of a claim whose answer never reached the worker: due now, and no worker was lost.
--
-- KEYS: queue, claims.  ARGV: token (without its epoch), now (ms; '' = the server's).  Returns how many.
local now = tonumber(ARGV[2])
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end
local released = 0
local claims = redis.call('HGETALL', KEYS[2])
for i = 1, #claims, 2 do
  local id, token = claims[i], claims[i + 1]
  if string.sub(token, -#ARGV[1] - 1) == ' ' .. ARGV[1] and redis.call('ZSCORE', KEYS[1], id) then
    redis.call('ZADD', KEYS[1], string.format('%d', now), id)
    redis.call('HDEL', KEYS[2], id)
    redis.call('DEL', 'arq:in-progress:' .. id)
    released = released + 1
  end
end
return released
