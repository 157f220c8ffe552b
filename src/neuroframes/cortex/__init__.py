"""Where frames live: grayordinates, regions, meshes."""
