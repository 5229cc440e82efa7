"""The procedural table-top of `blueprint demo`: printed art, shapes, the room, and the simulated RGB-D sensor."""
