"""What works here, what does not, and what to do about it: `ssb-rtc doctor`. It looks and changes nothing."""
