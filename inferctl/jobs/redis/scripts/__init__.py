"""What Redis does for each method of the store, a script each; all begin with `prelude.lua`."""
