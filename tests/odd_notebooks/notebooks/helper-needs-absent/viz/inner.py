def w():
    return 1.0
