-- Puts the new state of a breaker in the place of the one that it was made from, unless somebody else did so before.
--
-- KEYS: the states of all breakers. ARGV: now (ms; '' = the server's), the breaker, the state that the new one was made
-- from ('' = none), the new one ('' = only tell).
-- Returns now (ms), 1 where the new one is there now, and the state that is there.
local now = clock(ARGV[1])
local there = redis.call('HGET', KEYS[1], ARGV[2]) or ''
if ARGV[4] ~= '' and there == ARGV[3] then
  redis.call('HSET', KEYS[1], ARGV[2], ARGV[4])
  return {now, 1, ARGV[4]}
end
return {now, 0, there}
