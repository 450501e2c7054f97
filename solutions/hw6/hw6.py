# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Homework 6. Continuous time: neural ODEs, SDEs and flow matching
#
# ![eight blobs on a ring, sampled with 1, 2, 4 and 50 Euler steps: flow matching needs many steps, pairs by optimal transport and reflow need one](data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAZMAAAEYBAMAAABrRQZJAAAAElBMVEX///92dnZbW1tUVFQzMzMTExNLjJEuAAAfYElEQVR42u19zWIix9LlOUnP7hMZWVpbFGh9LdR+gPFiHnj23zNMS+1ZWxTd6yYj6TUVsyiQoMgs4Frta3uojduSAjIy4z8jTgHX56/3EMD/+J+XEPz3pRT/9b//JAoAHy7h/cPFFL/+SRTunyNgV1aurFxZubJyZeXKyv+vrEgXZ/0zTkUs/DNYSVAX/ymnEv6aAkZA5DKSGjd/TV0RUb2Ml68zeU2y/kqsGPQWehGF1xEEgMlf7FRY2QnzumeFAXDKdtz9M3ua78aKXCz5YTou7vDh052dLWXtBCCEO/Z+zKlUJC8iUEu1OOjZVPymbVKC6rXWeZ+bdxQwFY8LDkbSsv4uxgsOcz1OBvMg8H2a+or2XqwEjueLhHTOurpjSGIYK4TxNDfd71sJIJAs6L35ZZ/ow3upSoMlHn7zdpbtAoLh2+i3TfDVxi9vx3i2M5SlXSkAQyvf7ld3+mN0JUSJns0Ya5wn+hbAzQ1Nf9eGymaIk9BZFUB1F8GkaPqDWFGNUEOyNgQ3l9MStjYnSCCcwt/FqQxbFOibASY8MD7i5D1YISAWiCAjQGj+yynHZ4SFNtIQ0Qq08S9DJDF6Akhv8lnJ87GFeQdWDBVFjA4rUAxxcspqSwi20GAwgErvfxviRGaunghhr6vXVcQPORWEloy13STvLQFcDP95lOA1KCIACsR02Q7JV1rMRwITvFlf/UEuclR/b702WE7hNCVvJ+RLnBOvr8KigA9DRtyCImnPi0iivDsro/q5ZQKARRpLO244rPVkLc9re3X5ECBImX3nRBCnR6GC/QALJpOpTwBNvEJSZQlhWOfh/Z7JXkMbTou+sW0Xitvln1GmqL8l1RYgoCpqUQxxSLPumjbEPT/SAuNVHPCNBNq2FAK8JyurwAgEGCOAELzWUozFBIjPk0Xcc35d+KZl18oJFplfSi7S/2NXRY9TAjMIKAIhCBewry+/9imqOhzyKgGyv8s9CsnuNwMEwjeKP3gqAkQT8AUKU8HIYDJWDlkxhxTf7BEBqFGDaOkstc2dmKVKqfZuAqYYLb8AAsxALLkBoDpYroJ525Mm26pEFCmmx/QZJmn+UF/+sK6Yf4hQcS+1h/cpEECEHzDGFlX60aOHVGmoDJD1tfcHmfEfZqWVZ9YTbdE4JJhNBJCwdEXnYlM59iKK759n5Zg6n2kSk8d3tWDJmzaAoIVXyFIhyVAORbg8SpogAG5u6pJCEpkcwNzMh+f3ZIURVICKUZfiAWvoUPGhtSbjPtpbtywWAfKfs6Dbl7wyK7NzQ/wwIYhQf4MBUShjQFLRhJkD6pw+mL9wE5M20zN0hQznpYOT+0VjwWaxeRQAoqZqtRtIJg1oDm2PAJDoLqw+2dzqvpn+kEmmKL/kP7nnIqVmACEQjupdCaIG9/Zo3+Gxc4i55/aWWRfJUkTHMB3tXHHRRRpQ3eO+PsexrGEwaFDbNNK5CTbB+HPpRER8LhENm5ylEKAY0ZlfbOy0roxqYKPnCOwYgOPc6imRuvhDoJDnEsE6U/Q2AEliNpyUOh8FEM1BtFNipX0GRuEcgW0kwXyzbhYT+M5lKQzFpMVaZtwEARSST21kzfwBJ5y0YJxO7hQ4p6Y1EloIDmMiEUKFwggWrVE9rabHwYAx+nk+J3CQBysZkJOBiy2aRQN7PsOGtc6H2No0+TpNVI1bw1rMWBo3/nIUhwgAfc4eZLRq9KXsn88J8OdYnHMsTrzz6/aLseESgNcuk0hWckOS+ViFhZgNtGgyBb4NFTpPusjV6hwr73yzWGG8vhn5LrrQbYXvoRCDeN+g3S/CdydfTO4N+oxVVvHDmWmXLM4LJjnHMyI4TvYqjhrUPufPRDGaQ5/3DsC2BSWT5PX4DE2qhJQ9sHhmQqz1Wazwmz4xhjqaBkEQAnBiVnBrRm5eng6tG3dc5tI1g8pGx+W66HsmxKw+AsEd3kNx/1v2fbcA7jZzZ0UwSyECqW9ZSGAPKf5wZCz2JDPX+tltt6kiEohbK1ZQ2jhHRmCYC6apCtVvPv9RvUDvD9+vpDvDwnj/CTSwy/fovw2RPAWvnWJslV3U6KMWDJQ65BIWWnv40z+eRd6ugWn99FCjdiYgCaS6rGr0VNWJvpa5AIXMZ48DtiUX/wse37sO9mLwjU5GxuYBgNmEvhooJprBEg+zr6CL54UMFEOOT0zS4+f5O7MSJ/xuKb24OzxRIWygcc6hKg371kdlOg/lMqBlCvfr+frxMJZ7h5rxEhu0FloEMUyTwR6tGXBLQh96wm/360Y4VKNIx2UwASbvzAoNUsfVktFBFibkcMijNpW7PbcgJF7aWhccik6YyUXD13dmpSW5RLJUryqFwLzjcKrztFJs07QuuamsWg3xL90FwEGq1uAnbN6ZFQiTAWwbrObQGsna4RyHrKa6XZISngif0kB2JEqTWvZLHYzSuIWckXpd9DS1x6MPuBX5TGnuT0XUNBV3WwNiAE105RszGzIUwCz2zODqplE9r3h0mT1e3JtuVI2afvcnMmlzXMkk1VgDMCSBisRBIu8OBAwiMPauwt6DFZveh+8rEwSgdQxnaNeoXTLBAw60hBhPdMeMHtxsZ60FCFGBxUTfnRXok5pKqGNdw3DqWhWAyBdoDFGI2SMMzNxdHyhjuwZSF61T0dVsROP7s2KT6TzCmtEXrTA+o1BjzU+1rw068S/x9BoUKm3r0UhXZUsN5NjXvEu7jqqsZlgYPSf+nJwt+q8/RVuzXtRe2Mop7gPhEAEFApJ0lRbFD2CF1pkS03OkC4Ct7xoouBh9R2WnOyhXXM2VoAER0y/WuaMzs8jLBOzNruiZFEulCLgZRzyeUUQIvvGxK31O01iQ06336gfDXsx+ximadIthHD+dU25bsepi6RCXD3zKl0zwH3hsa7GIWs89xtVWy2ipmfAvw8pOIg0LiJ2rjtuCgZg5X6w6/OUfUSO6niuLsWBb/uPjBXrmH21jNMO0WF78W5zKXrbCBQvs/01Yscy//qas5Nn627OCKytXVq6sXFm5snJl5crKJc8HAPxflwR2/30pxX/hT6K4PtfnR+c0V/imc59f/ySKq1+5snJl5crKlZUrK/8MVngxhfw5rFy+MLuYSIe5ce+0sssXxl7fyuknEFoeuSyxYhcvTMQu5V/oL/qaaHADtxilU6Fdgv4BGDRMcBkNLcAu+XtO7d/QFcPJy/TeU6nKRcA/U0wXl538pJno5ayM5mu56PRvw0M333X2waTZtl3yXAr7/nE5QFESsDlDuuj0o//8cB7r23WY2KgDAuFpA7F92iqRQB4uxuXJaPBBzrFKu7+w9PDbAwIknWFTO44+/zTToCLxtHUEAJHxFzx4g0j2XvVDnuzu2ebSJtWTGmPbddW//fzzkjptfHHg42ALPYSyQgwxcLK0c5QeobJPJFSCz1DkBezexvbUNMta1mdJsksu+ud1NA9TniP9rcaXGGMIGqIta8xPa0rCS2vBe6HGZe3qnMgcZdEfiREcEEaSnxL50Jf9mYAEKs4c+ZH1YKZOALgVCEiEqUN4dKE0kPCmXqwRKKATSPh42EGXz+0JwLCBAXaXRpyOTso+MVaYCaO9jDF5qtOgkhkgGCuV3hAXY3q9i4NdFQoBXJrFSRBrNeiknUQ5KWAm9wvZKsHCb9pkPCEwYsLKAalrE2g+xuGFgVBJI4FpHUCgEYRhayEKabEKzUIBF/lbagJOq/5IGNz2fIR8rGVQwGpwup1AdRQEUOqD0++Ji1DgCHmFeSMYDmHSehR12IIhcrsqglV90PieFbBw+/PaYotu0IKGxSAOoUNTe4VGgGhNEWHyfTAonKzhDUm57ToymMxZPkYmqwndTX504eE43225t8c13XznK7bDu9PZAf+9Uwlh5B7FcX+KbHSIRHekxNMRQnizsQ50wyU9zkUOJo/l0LBsKQ6Jwu0v0vN+zo0GWMFo/tibV3CZ4aV95u/D7aEhJXtj6z2K2b2b7+mrgI44acG0fnkD7vAAENr2ZsBN3k/ccs8ukK20g2EVg9Q/NftmQWDYNqvmJbKR+ovtYzf5NjdE2mPlYxs700fZZm0RbsiwNqG9g73GBLadahiYtldY2htSE6gBjmULFh9N7g4WoQDcEZ5iX+3T1vRZp+sEiGk9FIG5Z+yldoQCk1JeIYBQXXRvQEEqAHE396XPp7wwPfdB+qT1vsyKAMAKO7xBBboxSotVOZL8l76w3rMmBhBN58uzkaRr0X5vD39maBYuS2GAfV83N0crUDfVXhbiDj6T0C1kVyelEMAsfkI24DHAfvsd1mh/759+VxbAclbaNm3f6To401JJYdPeuOMpkvY5AAcJ9aGA2UoAfYVSilABRCU0pdzFpp23e2UeMCWxvyN9N+HMerM6LTodzX/J5PtLin0ug4MeUrij8HMv1CeQgCTqytMPyUT1dWVxl02HImaGt/ZozFGQBso8+lM6bmiLm+EZYorfF1kDPGiK8aS0MPHQw5URqAyxaJKiP85nlCSLxiUtQ7bGAzmYRu6xklRxIOQd8Or6c9FSxr5YGLACQlWQyBC2FuZgc8y8jUoUdVzlhlU1jGw/pjoMJRl3MfWeQxLFKlg+SHJhk/sFdRSmlo2Soosh7uXFr5LtVmHSZCmyCbNR4my8D9Tj+v5rz8KFN2tps3yaZ980ZMByDG27XpcygizegWftfitU/rJ6ZxxFSXWJFYHIG5hBfOMqIpUi4xXQ9HVWYOtJAcGpNBayQZEiZWPziCm1KbOy/7u9SjCRH99/m1O2nitMu9mGYw2XfKL4hbMSRX4jNzyAVHMHtmfsjn5o3Y4X0UNGzIYBclNAQqBnbo9ZpkB/Gn0nkqKuT/Gm+tUbgDcP/3OfC/IFVb5WKIB8zITsO7CDHGAhR7f5IL+EbuNc9Qqodhzkt1TdLu11LkMAyG58pH/0q5rAcYiiQpdLvg02Eck2cCfxWuc2RUo3Ea1YeVp1W8I5xIBUgoqZFOr3PgDHI8NaKuxJg5RdmVdrM7ZYqRNZ5yFevPp9GDJ3aCrqBzkSYoNB2rzdqdP3mNlkAa1NhSprlUMCgNZRmI2NG+TjAFtgYaVTYbt4VtkzR9ypPfOlCvlS/yuD/gGFRcniZji3vslj/C0Yc3ZaHF0WHYcOfgC+SdAp8lu1HQDFRAvewC+eR5qpIk+VWUdo4/GkecjnZD67W6mtLOtszTIvMfjwdkfC0s3FPFum4K2EY8GXrlKVtUe8Lbx5hHvbuk8hrkIthXq4K5YpvgHY82B8lTu45/yH/RSE7BtXBYDJKk9xF2qRjFCaQ3ZKX31dSygAhLWlID9UdVCY7l6NsgNSsFLuIe1XRsvpveUvM+jtt+pJj/XewDzcQIAuR8toOZm0cr4S0/OE1vH7GtUaANX8JauFNkmWT9F8zKahjcEXaxi5oDEgr6g6VHFxeIx+G0X0vsRld1ldfZf0GIqY0DxKqzEFKcWTeePtpyYFa8wyK+1Gu5n2fuqtzM+Hhm/PKjw4ab5GCjkwE/pNFHH5mkeWeeqnuNEmW40xGUiIFzM0rzcgB7uZTX8ifIqm+y9fsdd4Q302wA+fNBcdSkHGPAzLebbk0b9a7yXEvwPb+yd9/WASKCF06Xjd/XEvY9THUtUhkv01E4CK0wyibrfarH+mUgbAGlvWjK97pgRBmA1MIzZC1ugXPSlPrnDxayZC6H50bgCQHqTwUhnjUjN6YrdOJRS9fff+INkLZLvsi02x0CriFT3kEoGOSsotQZPVR/Bx9FoVmA9tffzCHUNo26kOwAKqSdbo1wXPYk696mEfAaGGm9I5qjkv2kuZSGC9KDCvXHhMMiHYx0PUxw/9aJMIEXgro9BcK7dFTN92taJP+np/r4BBxLEtNckowL4ZMdaVjRd5CutQtcIBiSQR+9ezlAXMptuS96th9WhxKyUBgzi3L0oKAUS/U6QuSRg7rDkexJJLJB+07D60V6NSa6E8oOhfSnxZ99RRIUHLOM3qWxxA4SqgbKH4WqKQzi7Zvk3V0IDrghBjCgn7ro6A45cmYI0BVr7VW6DaercfVFfbpnj3o4+stWd5OWuQiiQqHPkD3gVe4csUC2rEQQGY5ltp480QKzAVEDUaAB6oYXX9EgfeJfQU1m+hnQAObF/MXsoG3MP362bJEMsUFNy2BxGInyRRbQ7M9xErza2KQQkBFFTKuo0DLWhGXQaRuouTksBXJn6cisVs+IaaptwGVhQEgY03Q6CdaaTh8XWpIlg3FlsNwxitLaYNu9txgvbd6epZMPAQ7VSwdT2dCVBiUzQUUNIeg9/5KoWuFU4H4NG8mc329F7hgSr2CiEumyMgIUQIDO1PdMOIOa1Vn7+EpWFaA0KkFdAMdh6Kuc8QQ2ANeIIrINarMokawxMmFFIASR3MjvTQlTKzO34pMMZqZcJYL9wwBBtAm780HmiAELu7luHOyziahE9eUmSDELtc0Johipph8oleIQmyBbuy0y+O+310FzUZVkiqUDnFCTCFeBU1QMXTg5BhpBkf8Kg0mINK6Dz/YA9d41Kq2l0xepuz94PMjIA9h18eDagF8JWd7B+EbbC+DUvAJAcQlTuWlaVHE6AVqIUIOdU/u3rxk1oBGKnoYOH6JB+OU9nNUyUS2IgxMfiTS7PPCDFSkkQyhbYAP3xg8GO1UIpWq22geAISEclHNIShWpnQQOPp1y4pwNWLRjeVyvv5OQjz9ogVDBMLYYKx6ulGyFiNu0TfVV49T3dbtmktMA+3crdYn9ucu70r+rZYT5y8nMGJ4FMLgTYJ4yScneyCJbBqFIaY/MaFtZ3RBWzfngBFS9+uJ1DL9M59yOdtALBacYUzHpVOQ9xYFZ4vp5fVXZF3oUX0lY+nNkyU1kXGBlissmblw4nvPIuXLnBvNfilpjMIaAYFjaI+6hmGQl+rC0G9xR8M32QAYnMe+zskJou+Oa+Pv3NXAkYUewbfearILvx7RbrgcxUGXzSQ//FZr8uZv2IeXVm5snJl5crKlZUrK1dW/vbPFb7p+lyfM0UfV/im859f/ySKq1+5snJl5crKlZUrKz+elcsRjN4djOlyijwrdvE3XU6h701RELBa0oWnIqJyoTyIXvaWbkcMURQinaWJXoQUZIoQL6JooSFexHwLVKvL1b5aX4RfBNRVuhAlqZ4muVAfp1EuZsVqL5cp89rGehmFay6leGz8AEXpVFJ383f+tsWZCC5CL1t8vJDCPn/s2ph5ESs6UkCg569Mv+pu3uVcvf+aLqOYoBtlt3NY2Z2CyM8UauDJ7+koSOBnESCcNrE7ijbeeXiexhXabueIy3in1BKFOzLdACoZYf04M4meqDk6YewBiFTgtAZi4CkT+0qRqlvALDANM7Pdzo0EuvmuU1nONMjdTMosVAA4m8rphFg4cvfbYeepzM5IbyuM7udbilrmZ1DcY/QLOpQGBszPSojdjIDJSwy1kFicNrKc2k37LUw1CJnqKKdbKsa4eflciULI71ifYclusPlWBUsUoApHR+mOBZNg2wLQuv6doLejPvW+7BNs5kBKai/0xNc4qMsEBJRbeO+79gWEl0GUJOmmru6naQxA6VwzyXYlfzg+SWwnbAgZHQ6A5QVsFHYjXFPIaH5AkRUXopbt5P0U8rEOPE3x2mIvIvdyGvMIEtwK0K6LxKBj2kB0Jd2xbAzbIaYF9ObrkLTU2xlF1djZgAb6Mvi6zLp7T+y294BEQlodt9a7o/9Lchf3ZSFJGWqhm3Jb06a7ww4OcKuhoCcFMSfYUZAQhKeBzisug6jI63vZDAKrn7MavIdHJLXszYySBKU+/uM3CgbXmw4kKw4W6NijEHeSInQIb6/76/oj3UcCRsf1ejZ5HW82M5oOwBGBrOqR7Q/7CWw1FO9IVf3M+AbAQmprqyGJlJmbVLo3hmVoW8RhAbM4mzy+NPv9jx4FlMctxVj8z2J7w35qxTHdrYOs3aPw1WCZARx8qV9q5u5OehIodRpkRbwetuJ272gbQBOV73DYH/qRDrpsyBQr2xTToTsfiimtBtd9bFJtfIkV2R4LnvcjSNsCKEnBdlHvFlj6vZgoARCXUsnasdoonO/5HSI/4icAnIvajsf9IPIYdtXtB0aqcWO9NN2AL9nBEgVgWFiM+zCzBiC1+Re8KwBbqbdn9EfXChG4AmhbNff1aBYoHUW6Pb/i9yO+rVXDphp6nzatvxBDHEgOXKRXO/wSj4FRDLik46NfezuFD6b7yDcCABFYxGIgTl31Uw4CqB/KGTo/xczuz4rvgeRNXB0LrCbjICuuGwzQN8HfQR0WMLJ8OnJuBvj4DOYRJRhQZX5hL7FEgfSQMtUJP5scUhyyUh9aUdtZpLqIkcVJtdW/vuhboVU1jr9lBVWLFNbk5gJ0laHY8933+SN24XUiueftRbJlgyDT16Dh0HcXcPbIPVypo3AyhII9lGI4OfmGHG6KtZiXFHmdTbWjNA/5NRt8FgeglpEvKqRlCmbqeFuXB28bIg9KVK0LCJ/aZmNNNo+uhAmaJrmfNpVNq+GMuH8sE2goq33K1bMJNOGnScmElQzPZlLY4mxYY03tXqSQSOSVblRPmyIr/Dm3E9aVLgoZYRbByJBew/he6cSQbXan0Y4BnzhU9l4cAgO4fSKxJiPgBNC2zTL3czGfxTgBNB5jYxg6RAHLZ8npGL7JtnZC8xRfJiHDiu1s6FEl0yBwz+OsBCsTcntG3mnr87FI3n60oW3u7Hw7AbSPnw5Gyt1hRhiyaqZsa415we+FILvv99GOz/GNIsfj800hMypoI38XawoWzGwLwnBsjZkfMSF4m9fU9RLZHFcAl48CWv9dmxxFKWOgi4qmXJ2UzDYQ4Dr7gWaIWRepbaG2ocaCQZrpJn8mqZCXtS3aol+peQRr1YGa818FJCrIz5LV4nsp1WkKm2yr0u8MjwWRlBJ8E6V5uM17J8vbQ5G6/r+aXe3veRkPmJYq6r2FvVI4jhYombxCZGw6Wn6TfBlds1+j6fviJ8nqaZ2/y4x0vsqnPYXbz2gzn62/m4MdKNJeKGmjOSZPuzD18FiyeSSNE7ZNdgUNkLlppNGC5a2UFijEm2Rj6bZ38G5vze1zsyiYv4g8Mt5nXUhJHWKWYpmy0+hSpNDPZ7ZJuLeKrHz0dz2AMHn7bcxoinw0P81c3CiYw/QiRD5CstmygllPC5mJZpEij7C8PuzFbP8HNjmcs9W3gk+uCGQvY33Ju0jk5U5XNxvNAnDkL9dNUmh9mzdszI95SlcBLZRwmCm0UgA61KFw2jwqm24p5gWPV6AQF0KhQJIvtGrn8EL99rqDvbOZZhTCFDDjMha+xUoUxdJlnkLHKV8i1EkR+7u7KdjGr4cfuyrVgsxcLsNVNy7WGi3lKh5yK+XSrOa0S7A8ZN71KztZEzZQ1hr7XFyx0fuByllGuXQVPxbLTS4Xh6VHCYPFI5OMXw+/lJtRYljnyge/lKeil8gUL519fCpXjfWobk/w89QPsMI25DBXC3By3UfGtuZROfU2lijI1uIRwB1lZJPC0Uvu2C3U057cfeg548UIfagEUYf7l1hI1KlQQw/JvBbIooAPBlofKkDpwxRSMuCg4bgXiIKxFnN7o6GV12SaW39zexdLoEdGAwEevCdBJL0oSzBJNMD3pXi9Mh19HaA4Uq8oTcOvZQEz7Hy37oyjkiJcrAYMaOrjRCROrf29TMHEwxf62NgttbkZoLBDHZdanlVwAvPoey8s9lzEaIti7waNs8NUI7WrKM9apoBVPVBMXfnJRof6Q9YHzkVTauvxQsslPcAHq3t73npdIZQvfWk3bwJAgCYSFzKACWDupz3exVFEVi8sA6fQON//HUM0fltgADkXktJb3kAAt85koLYACKYhvdowMdwCChQtGADMDPO3CpaKqQJpqMuH0j7u3Vp4D3ikQb+iaLX6uPXfVoPmoaCV0XIUL1pV1fZuX0GbAEo2RQqxxcNo9FC9GmKrgRgGWmlEHiYjx9c3ToENEPsQM+7IJMEW87lMAyCNmEYM3mEBRkIhyyAAa5g1gA31dyrh0LCdBwFImG8ALAauvVQbh1Xs3kxF2YbEi149yx1tGU0+L5yKCEGMhXA22EozmcNvVJQgGoGCcIMtcRISxgs+qwoRO4oCyvEu3FjTQoMNIJAolqU4usAL8ybN3coWqoZIKDAM4KRf0H4ZiVoUk4DKALSDzX0R0q5nJgYYwjbZHtyuVVBdzhsACWmL93REcQwUtKjj4k6IqaxBJJ5sBW1XsFWEYM3o0Z7xvtj4wviiECR2IZHxRCvwauHHT46AYexdzFIc5813mPBZLSxSCx+8newepi5qD2g9NmkYVE82doq9TBXQ2nu/TPUZraBh3AjaDh1tySAlisPOK7dNssVxxirMc3/ce9XJqzGazlw4AgP/NUchO4rHMJUzKHbvSSOmj5lywq/IdSjuLlDZugXMP59R61h17jBJA/En8Oq679janiSNd7o+o2283b5lx0LjK1/lYKWyrEA0WGQrTOd0zRuVoIdqMPvSnkFBGE0A1WCta/UMCoNoiKKxijorJkMf8hVdx1xl+8MARb7H8tchCjmXgoM1519zxvgtNGrtrM7sPQrzZ7XY657+41yK3Uqclihc8Xv03M7/PQrlWW3p8u9TsIWc18jeL6jhhzz671MYithV7n2/0/Cfo7gOE15ZubJyZeXKypWVKyv/dFau8E3X54c+/w+JY7DlEIoNngAAAABJRU5ErkJggg==)
#
# Let the number of layers of a network, or of steps of a diffusion, go to infinity. What remains is a **velocity field** $f(t, x)$, and sampling is solving the equation $dx/dt = f(t, x)$. In this homework you write the solver, differentiate through it without storing it, and read a likelihood off the trace of a Jacobian. You see that a diffusion
# has a deterministic twin with the same densities. Then comes the shortcut of today's image generators: do not derive the field, *regress* it. Rows of the picture: flow matching; with noise and data paired cleverly; with its paths straightened. Columns: 1, 2, 4 and 50 steps.
#
# | part | what | the idea | points |
# |---|---|---|---|
# | 1 | theory | one density, many processes; the loss that never reaches 0; diffusion is a flow in other clothes | 4 |
# | 2.1–2.3 | solvers, adjoint, continuous flows | depth becomes time | 2.75 |
# | 2.4–2.6 | SDEs and the probability flow | noise and no noise, one density | 2.5 |
# | 2.7, 2.8 | flow matching | regress the velocity of straight lines | 2 |
# | 2.9, 2.10 | optimal transport, reflow | straight paths need few steps | 1.75 |
# | 3 | trained: a ring in many steps, the ring in one step, digits | – | 2 |
#
# **One habit of this homework.** For Gaussian data every field here is a formula that is affine in $x$, so what a solver with *finitely many* steps does is known exactly. It is not the law of the data. Your code is compared with the exact result of $n$ steps; compare it with that, too, and not with the data.
#
# **Time.** Expect 7 hours: theory two, part 2 four, part 3 one. All trainings together take about half a minute of one CPU core.
#
# **How to work.** Fill the places marked `YOUR CODE HERE` (delete the line `raise NotImplementedError()`), run the cell, then run the `check("...")` cell below it: it tries, within a second or two, a part of what is scored, and says what does not hold. Under each task a list **What is checked** names everything that is scored, and
# nothing else is: a task that passes here can still miss a line of it. You may add cells, helper functions and optional arguments; names, required arguments and shapes must stay. A later task may call your answer to an earlier one; then a mistake in the earlier costs both. Tasks marked ★ carry no points. If you are stuck, unfold the *Hint* of a task.

# %% [markdown] tags=["limits"]
# What grading allows is printed here from `assignment.yaml`.

# %% [markdown]
# **Conventions.** Each of these has split the literature; this homework fixes one reading.
#
# - **Fields are called time first,** `f(t, x)`, with one time for all: a float or a tensor without dimensions. **Networks and scores are called point first,** `model(x, t)` and `score(x, t)`, with a time for each sample: `t` of shape `(B,)`, in the dtype of `x`, in $[0, 1]$. `field(model)`, given below, makes a field of a model.
# - **Flows** (2.1–2.3, 2.7–2.10): $t = 0$ is **noise**, $t = 1$ is **data**; $x_t = (1 - t)\, x_0 + t\, x_1$ with noise $x_0 \sim \mathcal N(0, I)$, and the velocity points to the data.
# - **SDEs** (2.4–2.6): $t = 0$ is **data**, $t = 1$ is **noise**; $\beta(t) = \beta_{\min} + t\,(\beta_{\max} - \beta_{\min})$. Task 1.4 is the bridge between the two. The direction of time stands beside every task.
# - `n_steps` is a number of *steps*, never of grid points: $t_i = t_0 + i h$ with $h = (t_1 - t_0)/n$, and $h < 0$ if $t_1 < t_0$. An Euler step reads its field at the *start* of the step.
# - Kernels return `(mean_factor, std)`: a standard deviation, not a variance.
# - **Means and sums.** The flow matching loss is the mean over the batch *and* the dimensions. Straightness and transport costs sum over dimensions and take the mean over the batch. Log-densities are in nats, summed over dimensions, of shape `(B,)`.
# - A sample may have any shape: vectors `(B, D)`, images `(B, C, H, W)`. Row $b$ of a result belongs to row $b$ of the input. Results have the shape and the dtype of `x`; where there is no `x`, a time of shape `(B,)` gives results of its dtype or of float64, and a number gives a number or a tensor without dimensions. Arguments are never modified. Random numbers come from PyTorch's global generator, fresh in every call.
# - **Samplers** are `reverse_sample`, `fm_sample` and `reflow_pairs`. They call the network once a step, with the whole batch, arguments by position, in whichever mode. They return no graph, and when they end the network's mode and gradients are as they were.
# - No question is asked where a formula divides by zero: velocity to score at $t = 1$, score to velocity at $t = 0$, `noise_to_velocity` at $\tau = 0$. *Near* these ends, up to $10^{-4}$, questions are asked, so clamp no time in parts 1 and 2. Times, steps `dt` and $\lambda$ are numbers unless a shape `(B,)` is named.
#
# **Reading:** neural ODEs [Chen et al., 2018](https://arxiv.org/abs/1806.07366) (sections 2, 4, appendix B) · FFJORD [Grathwohl et al., 2019](https://arxiv.org/abs/1810.01367) (section 3) · SDEs [Song et al., 2021](https://arxiv.org/abs/2011.13456) (sections 3, 4.3, appendix D) · flow matching [Lipman et al., 2023](https://arxiv.org/abs/2210.02747) (sections 3, 4) ·
# rectified flow [Liu et al., 2023](https://arxiv.org/abs/2209.03003) (sections 2.1, 2.2) · optimal transport [Tong et al., 2024](https://arxiv.org/abs/2302.00482) (section 3) · the bridge [Albergo et al., 2023](https://arxiv.org/abs/2303.08797).

# %% tags=["package"]
from autograder import check

# %%
import math
from contextlib import contextmanager

import matplotlib.pyplot as plt
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment


@contextmanager
def when_written(*names):
    """Run as far as your answers above allow; `names` are made by cells that may not have run yet."""
    try:
        yield
    except NotImplementedError:
        plt.close("all")  # no empty axes
        print("Not yet: a function above is still to be written.")
    except NameError as error:
        if error.name not in names:
            raise
        plt.close("all")
        print(f"Not yet: `{error.name}` is made by a cell above.")


def column(t, x):
    """A time, one number or (B,), as a tensor of x's dtype that multiplies x (B, *)."""
    t = torch.as_tensor(t, dtype=x.dtype)
    return t.reshape(t.shape + (1,) * (x.dim() - t.dim()))


def field(model):
    """The field f(t, x) of a model(x, t): one time for all becomes a time for each sample."""
    return lambda t, x: model(x, torch.as_tensor(t, dtype=x.dtype).expand(len(x)))


def time_features(t, width):
    """Sines and cosines of t at whole and half frequencies, (B, width) for an even width and t (B,)."""
    phase = math.pi * t[:, None] * torch.arange(1, width // 2 + 1)
    return torch.cat([phase.sin(), phase.cos()], 1)


# %% [markdown]
# **What you will build.** Below, the flow whose data are eight points on a circle, where the exact field is a formula. Left: its arrows at three times. At $t = 0$ all point to the mean of the data; only near $t = 1$ do they choose. Right: the paths of 60 points. They bend: the field that flow matching learns is not straight, although it learns from straight lines.

# %%
angles = torch.arange(8) * math.pi / 4
eight = 3 * torch.stack([angles.cos(), angles.sin()], 1)


def exact_eight(t, x):
    """The velocity E[x_1 - x_0 | x_t = x] for data that are the eight points, each blurred with deviation 0.2."""
    spread = (0.2 * t) ** 2 + (1 - t) ** 2
    away = x[:, None] - t * eight
    share = (-away.square().sum(2) / (2 * spread)).softmax(1)
    return (share[:, :, None] * (eight + (0.04 * t - (1 - t)) / spread * away)).sum(1)


figure, axes = plt.subplots(1, 4, figsize=(13, 3.2))
places = torch.cartesian_prod(torch.linspace(-4, 4, 17), torch.linspace(-4, 4, 17))
for axis, t in zip(axes, (0.0, 0.5, 0.9)):
    axis.quiver(*places.T, *exact_eight(t, places).T, color="tab:blue", width=0.004)
    axis.set(title=f"velocity at t = {t:g}", xlim=(-4.5, 4.5), ylim=(-4.5, 4.5))
torch.manual_seed(0)
line = [torch.randn(60, 2)]
for i in range(100):
    line.append(line[-1] + exact_eight(i / 100, line[-1]) / 100)
for path in torch.stack(line, 1):
    axes[3].plot(*path.T, color="tab:blue", linewidth=0.6)
axes[3].scatter(*line[0].T, s=6, color="black", zorder=3)
axes[3].scatter(*line[-1].T, s=6, color="tab:orange", zorder=3)
axes[3].set(title="60 paths, from black to orange", xlim=(-4.5, 4.5), ylim=(-4.5, 4.5))
plt.show()

# %% [markdown]
# # Part 1. Theory (4 points)
#
# Parts that you derive by hand are read by a human; formulas that you type are checked by numbers. Write a derivation in its text cell; a photo of handwriting is fine (*Edit → Insert image*).
#
# ## 1.1 One density, many processes (1 point, by hand)
#
# (SDE time: 0 is data.) The process $dx = f(x, t)\, dt + g(t)\, dw$ has densities $p_t$ that solve the Fokker–Planck equation
#
# $$ \partial_t p = -\nabla \cdot (f p) + \tfrac12 g^2 \Delta p. $$
#
# 1. (0.4) Derive an ordinary differential equation $dx/dt = v(x, t)$ with the same densities.
# 2. (0.4) Show that for every constant $\lambda \ge 0$ the SDE run *backwards* in time, with drift $f - \frac12 (1 + \lambda^2) g^2 \nabla \ln p_t$ (for $dt < 0$) and noise $\lambda g$, has them too. What are the names of $\lambda = 0$ and $\lambda = 1$?
# 3. (0.2) Your score is slightly wrong. What does $\lambda > 0$ improve, and what does it cost?
#
# <details><summary>Hint</summary>A flow with velocity $v$ moves densities by the continuity equation $\partial_t p = -\nabla \cdot (v p)$. Write $\Delta p = \nabla \cdot (p\, \nabla \ln p)$. For 2, measure time backwards, $s = 1 - t$: the drift changes its sign, the diffusion does not.</details>

# %% [markdown] by_hand="theory-marginals" points=1
# <!-- ### BEGIN SOLUTION -->
# **1.** $\nabla p = p\, \nabla \ln p$, so $\Delta p = \nabla \cdot (p\, \nabla \ln p)$ and $\partial_t p = -\nabla \cdot \big( (f - \frac12 g^2 \nabla \ln p_t)\, p \big)$. This is the continuity equation of $v = f - \frac12 g^2 \nabla \ln p_t$: the ODE $dx/dt = v$, started from $p_0$, has the same densities.
#
# **2.** With $s = 1 - t$ the backward process is $dx = -\big(f - \frac12 (1 + \lambda^2) g^2 \nabla \ln p_t\big)\, ds + \lambda g\, d\bar w$. Its Fokker–Planck equation is
# $\partial_s q = \nabla \cdot \big( (f - \frac12(1 + \lambda^2) g^2 \nabla \ln p_t)\, q \big) + \frac12 \lambda^2 g^2 \Delta q$. Put $q = p_t$: the term $-\frac12 \lambda^2 g^2\, \nabla \cdot (p\, \nabla \ln p)$ of the drift cancels $\frac12 \lambda^2 g^2 \Delta p$, and $\nabla \cdot \big((f - \frac12 g^2 \nabla \ln p_t)\, p\big) = -\partial_t p = \partial_s p$
# remains, which is part 1. $\lambda = 0$ is the probability-flow ODE, $\lambda = 1$ Anderson's reverse SDE.
#
# **3.** The noise with its share of the drift is a Langevin dynamics that pulls any wrong law towards $p_t$: errors made earlier are forgotten. The price is a rough path, which needs more and smaller steps (2.5 shows it), and a score whose own error is weighted more.
# <!-- ### END SOLUTION -->

# %% [markdown] tags=["rubric"]
# - 0.2 part 1: Δp = ∇·(p ∇ ln p)
# - 0.2 part 1: the continuity equation, and so v = f − ½ g² ∇ ln p
# - 0.15 part 2: time reversed, the drift changes its sign and the diffusion does not
# - 0.15 part 2: the additional drift and the additional diffusion cancel
# - 0.1 part 2: λ = 0 the probability-flow ODE, λ = 1 the reverse SDE
# - 0.1 part 3: noise pulls a wrong law back
# - 0.1 part 3: it costs more steps

# %% [markdown]
# ## 1.2 The Gaussian velocity, and one Euler step (0.3 by hand, 0.7 typed)
#
# (Flow time: 0 is noise.) Let $x_0 \sim \mathcal N(0, I)$ and $x_1 \sim \mathcal N(m, \operatorname{diag} s^2)$ be independent, and $x_t = (1 - t)\, x_0 + t\, x_1$. The velocity of flow matching is $u(x, t) = \mathbb E[x_1 - x_0 \mid x_t = x]$.
#
# 1. (0.2) Where does one Euler step from $t = 0$ to $t = 1$ send every point, for **any** law of the data?
# 2. (0.1) Which standard deviation do 2 Euler steps give for $m = 0$, $s = \frac12$, in one dimension?
#
# <details><summary>Hint</summary>At $t = 0$, $x_t$ is $x_0$ and says nothing about $x_1$. For 2 you need the formula that you type below: a step multiplies by a number.</details>

# %% [markdown] by_hand="theory-velocity" points=0.3
# <!-- ### BEGIN SOLUTION -->
# **1.** At $t = 0$ the condition is $x_0 = x$, and $x_1$ is independent of it: $u(x, 0) = \mathbb E x_1 - x$. One step gives $x + u(x, 0) = \mathbb E x_1$: everything lands on the mean of the data.
#
# **2.** The first step gives $x + \frac12 (0 - x) = x/2$. At $t = \frac12$, $u = \frac{\frac12 \cdot \frac14 - \frac12}{\frac1{16} + \frac14}\, x = -1.2\, x$, so the second step multiplies by $1 - 0.6 = 0.4$: the deviation is $0.2$, where the data have $0.5$.
# <!-- ### END SOLUTION -->

# %% [markdown] tags=["rubric"]
# - 0.2 part 1: u(x, 0) = E x_1 − x, so all points land on the mean
# - 0.1 part 2: 0.2

# %% [markdown]
# Type $u$. *Number to meet:* $m = 0$, $s = \frac12$, $t = \frac12$, $x = 1$: $-1.2$. With it, Euler's method from $\mathcal N(0, 1)$ has these exact deviations (the data's is 0.5):
#
# | steps | 1 | 2 | 4 | 10 | 100 |
# |---|---|---|---|---|---|
# | deviation | 0 | 0.2000 | 0.3405 | 0.4308 | 0.4926 |
#
# <details><summary>Hint</summary>$(x_1, x_t)$ is jointly Gaussian, entry by entry: $\mathbb E[x_1 \mid x_t] = m + \operatorname{Cov}(x_1, x_t) \operatorname{Var}(x_t)^{-1} (x_t - t m)$; likewise for $x_0$. `column(t, x)` helps with times of shape `(B,)`.</details>
#
# **What is checked**
# - `gaussian_velocity` for $t$ a number and of shape `(B,)`, with 0 and 1 among the times, for as many samples as dimensions, and for deviations below and above 1 in one call; float64.

# %% answer="theory-velocity-code-solution"
def gaussian_velocity(x, t, mean, std):
    """E[x_1 - x_0 | x_t = x] for data N(mean, diag(std²)); x (B, D), t a number or (B,), mean and std (D,)."""
    ### BEGIN SOLUTION
    t = column(t, x)
    spread = t**2 * std**2 + (1 - t) ** 2
    pull = (t * std**2 - (1 - t)) / spread
    return mean + pull * (x - t * mean)
    ### END SOLUTION


# %% graded="theory-velocity-code" points=0.7
check("theory-velocity-code")

# %% [markdown]
# ## 1.3 The loss that never reaches 0, the path that is never straight (0.5 by hand, 0.5 typed)
#
# (Flow time.) In the setting of 1.2, in one dimension, with deviation $s$. Give yourself $\int_0^1 \frac{dt}{t^2 s^2 + (1 - t)^2} = \frac{\pi}{2 s}$.
#
# 1. (0.3) Show that the least loss of flow matching, $\int_0^1 \mathbb E \operatorname{Var}(x_1 - x_0 \mid x_t)\, dt$, is $\frac\pi2 s$: it is not 0, although the field is fitted perfectly.
# 2. (0.2) $X_t$ is the path of the *exact* flow from $X_0 \sim \mathcal N(0, 1)$. Show that $\int_0^1 \mathbb E \big((X_1 - X_0) - u(X_t, t)\big)^2 dt = \big(2 - \frac\pi2\big) s$, whatever $m$: its paths are never straight.
#
# <details><summary>Hint</summary>For 2: a flow that is affine in $x$ keeps laws Gaussian, so $X_t = t m + r(t) X_0$ with the deviation $r$ of $x_t$. The mean of $(r' - c)^2$ with $c = r(1) - r(0)$ is $\int r'^2 - c^2$, and $r'^2$ needs the integral given above.</details>

# %% [markdown] by_hand="theory-floor" points=0.5
# <!-- ### BEGIN SOLUTION -->
# **1.** Let $r^2 = t^2 s^2 + (1 - t)^2 = \operatorname{Var} x_t$. $\operatorname{Var}(x_1 - x_0) = s^2 + 1$ and $\operatorname{Cov}(x_1 - x_0, x_t) = t s^2 - (1 - t)$, so $\operatorname{Var}(x_1 - x_0 \mid x_t) = \frac{(1 + s^2)\, r^2 - (t s^2 - (1 - t))^2}{r^2} = \frac{s^2}{r^2}$ (all other terms cancel). Its integral is
# $s^2 \cdot \frac{\pi}{2 s} = \frac\pi2 s$.
#
# **2.** The flow is affine and its densities are those of $x_t$, so $X_t = t m + r(t) X_0$, with $r(0) = 1$, $r(1) = s$. Along it $u(X_t, t) = \dot X_t = m + r'(t) X_0$, and $X_1 - X_0 = m + (s - 1) X_0$. The integral is $\int (r' - (s - 1))^2 dt = \int r'^2 dt - (s - 1)^2$. $r r' = t s^2 - (1 - t)$ gives
# $r'^2 = (1 + s^2) - \frac{s^2}{r^2}$ by the identity of part 1, and $\int r'^2 = 1 + s^2 - \frac\pi2 s$. Together: $1 + s^2 - \frac\pi2 s - 1 + 2 s - s^2 = (2 - \frac\pi2) s$.
# <!-- ### END SOLUTION -->

# %% [markdown] tags=["rubric"]
# - 0.2 part 1: the conditional variance s²/r²
# - 0.1 part 1: the integral
# - 0.1 part 2: the flow map X_t = t m + r(t) X_0
# - 0.1 part 2: the value, from ∫ r'² − (s − 1)²

# %% [markdown]
# Type both for data $\mathcal N(m, \Sigma)$ with **any** covariance matrix: the least loss is the *mean* over dimensions (as the loss is), the straightness the *sum*. *Numbers to meet:* one dimension, $s = \frac12$: 0.7854 and 0.2146. $\Sigma = \begin{pmatrix} 2 & 1 \\ 1 & 2 \end{pmatrix}$: 2.1457 and 1.1726 (from the diagonal alone the first would be 2.2214).
#
# <details><summary>Hint</summary>Noise $\mathcal N(0, I)$ looks the same in every orthonormal basis. In which basis of the data are the dimensions independent?</details>
#
# **What is checked**
# - `fm_floor` and `flow_straightness` for full covariances of 1 to 5 rows in float64, with positive eigenvalues. Each result is a number, or a tensor without dimensions.

# %% answer="theory-floor-code-solution"
def fm_floor(cov):
    """The least flow matching loss, mean over dimensions, for data N(m, cov); cov (D, D)."""
    ### BEGIN SOLUTION
    variances = torch.linalg.eigvalsh(cov)
    stds = variances.clamp_min(0).sqrt()
    return math.pi / 2 * stds.mean()
    ### END SOLUTION


def flow_straightness(cov):
    """The straightness of the exact flow, sum over dimensions, for data N(m, cov); cov (D, D)."""
    ### BEGIN SOLUTION
    variances = torch.linalg.eigvalsh(cov)
    stds = variances.clamp_min(0).sqrt()
    return (2 - math.pi / 2) * stds.sum()
    ### END SOLUTION


# %% graded="theory-floor-code" points=0.5
check("theory-floor-code")

# %% [markdown]
# ## 1.4 A diffusion is a flow in other clothes (0.5 by hand, 0.5 typed)
#
# A variance preserving diffusion at SDE time $t$ is $x = \alpha\, x_{\text{data}} + \sigma\, \varepsilon$, with $\alpha = e^{-\frac12 \int_0^t \beta}$, $\sigma^2 = 1 - \alpha^2$ and $\varepsilon \sim \mathcal N(0, I)$.
#
# 1. (0.2) Find a scale $c(t)$ and a flow time $\tau(t)$ such that $y = c\, x$ is the flow matching path $(1 - \tau)\, \varepsilon + \tau\, x_{\text{data}}$. (The times run against each other: $\tau$ falls from 1 as $t$ grows.)
# 2. (0.3) A network predicts $\hat\varepsilon = \mathbb E[\varepsilon \mid x]$. What is the velocity $u(y, \tau)$ in terms of $\hat\varepsilon$, $y$ and $\tau$?
#
# <details><summary>Hint</summary>Two conditions for two unknowns. In 2, $y$ fixes $\mathbb E[x_{\text{data}} \mid y]$ once $\hat\varepsilon$ is known.</details>

# %% [markdown] by_hand="theory-change" points=0.5
# <!-- ### BEGIN SOLUTION -->
# **1.** $c\,\alpha = \tau$ and $c\,\sigma = 1 - \tau$. Their sum gives $c = \frac1{\alpha + \sigma}$, and so $\tau = \frac{\alpha}{\alpha + \sigma}$.
#
# **2.** $u = \mathbb E[x_{\text{data}} - \varepsilon \mid y]$. Taking expectations of $y = (1 - \tau)\, \varepsilon + \tau\, x_{\text{data}}$ given $y$: $\mathbb E[x_{\text{data}} \mid y] = \frac{y - (1 - \tau)\, \hat\varepsilon}{\tau}$ (conditioning on $y$ or on $x = y/c$ is the same). Hence $u = \frac{y - (1 - \tau)\, \hat\varepsilon - \tau\, \hat\varepsilon}{\tau} = \frac{y - \hat\varepsilon}{\tau}$. A DDPM
# network *is* a flow matching network.
# <!-- ### END SOLUTION -->

# %% [markdown] tags=["rubric"]
# - 0.2 part 1: c = 1/(α + σ) and τ = α/(α + σ), from both conditions
# - 0.15 part 2: E[x_data | y] from the prediction of the noise
# - 0.15 part 2: u = (y − ε̂)/τ

# %% [markdown]
# Type both. *Numbers to meet:* $\beta$ from 0.1 to 20, $t = \frac12$: $\alpha = 0.2812$, $\sigma = 0.9597$, so $\tau = 0.2266$ and $c = 0.8059$.
#
# <details><summary>Hint</summary>$\int_0^t \beta = \beta_{\min} t + \frac12 (\beta_{\max} - \beta_{\min})\, t^2$. Times may be numbers: `torch.as_tensor(t, dtype=torch.float64)` is safe for both, and `torch.expm1` keeps small $t$ exact.</details>
#
# **What is checked**
# - `vp_to_flow` for $t$ a number and of shape `(B,)`, from 0 to 1: the pair `(tau, scale)`, each of $t$'s shape.
# - `noise_to_velocity` for $\tau$ a number and of shape `(B,)`, from $10^{-4}$ to 1, vectors and images, in the dtype of `y`.
# - Both together: the probability flow of a diffusion, rescaled, follows the flow matching field.

# %% answer="theory-change-code-solution"
def vp_to_flow(t, beta_min, beta_max):
    """Flow time tau and scale of SDE time t, a number or (B,): scale · x_t is the flow matching path at tau."""
    ### BEGIN SOLUTION
    t = torch.as_tensor(t, dtype=torch.double)
    total = beta_min * t + 0.5 * (beta_max - beta_min) * t**2
    alpha, sigma = (-0.5 * total).exp(), (-torch.expm1(-total)).sqrt()
    return alpha / (alpha + sigma), 1 / (alpha + sigma)
    ### END SOLUTION


def noise_to_velocity(eps, y, tau):
    """The velocity at y (B, *) and flow time tau, a number or (B,), from the predicted noise eps (B, *)."""
    ### BEGIN SOLUTION
    tau = column(tau, y)
    data = (y - (1 - tau) * eps) / tau
    return data - eps
    ### END SOLUTION


# %% graded="theory-change-code" points=0.5
check("theory-change-code")

# %% [markdown]
# # Part 2. From solvers to straight flows (9 points)
#
# ## 2.1 Fixed-step solvers (0.75 points)
#
# Reading: Chen et al. 2018, section 2. `euler` makes $x \leftarrow x + h f(t_i, x)$. `rk4` is the classical Runge–Kutta method: with
#
# $$ k_1 = f(t, x), \quad k_2 = f\big(t + \tfrac h2, x + \tfrac h2 k_1\big), \quad k_3 = f\big(t + \tfrac h2, x + \tfrac h2 k_2\big), \quad k_4 = f(t + h, x + h k_3) $$
#
# a step adds $\frac h6 (k_1 + 2 k_2 + 2 k_3 + k_4)$. *Worked numbers.* $x' = x$ from $x = 1$, one step from $t = 0$ to 1: 2 by Euler, 2.70833 by RK4; $e = 2.71828$.
#
# <details><summary>Hint</summary>Count the calls of `f`: $n$ for Euler, $4n$ for RK4. Compute each $t_i$ from `i`; no grid is needed.</details>
#
# **What is checked**
# - `euler` and `rk4`: the exact result of 1, 2, 3 and 7 steps for constant fields, for fields of time alone, for linear fields, and for one that is nonlinear and depends on time; forwards and backwards in time, also from other times than 0 and 1; vectors and images.
# - The number of calls of the field; `x` unchanged; gradients pass through; float32 stays float32.

# %% answer="ode-solution"
def euler(f, x, t0, t1, n_steps):
    """x (B, *) at t1 of dx/dt = f(t, x), from x at t0, by n_steps Euler steps."""
    ### BEGIN SOLUTION
    h = (t1 - t0) / n_steps
    for i in range(n_steps):
        x = x + h * f(t0 + i * h, x)
    return x
    ### END SOLUTION


def rk4(f, x, t0, t1, n_steps):
    """The same by n_steps steps of the classical Runge–Kutta method."""
    ### BEGIN SOLUTION
    h = (t1 - t0) / n_steps
    for i in range(n_steps):
        t = t0 + i * h
        k1 = f(t, x)
        k2 = f(t + h / 2, x + h / 2 * k1)
        k3 = f(t + h / 2, x + h / 2 * k2)
        k4 = f(t + h, x + h * k3)
        x = x + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    return x
    ### END SOLUTION


# %% graded="ode" points=0.75
check("ode")

# %% [markdown]
# The error of both on $x' = x \cos t$, whose solution is $e^{\sin t}$. The slopes should be 1 and 4 until rounding ends it.

# %%
with when_written():
    counts = [2**k for k in range(9)]
    x = torch.ones(1, 1, dtype=torch.float64)
    figure, axis = plt.subplots(figsize=(5, 2.8))
    for solver in (euler, rk4):
        errors = [abs(float(solver(lambda t, x: x * math.cos(t), x, 0.0, 2.0, n)) - math.exp(math.sin(2))) for n in counts]
        axis.loglog(counts, errors, "o-", label=f"{solver.__name__}: slope {-np.polyfit(np.log(counts[3:]), np.log(errors[3:]), 1)[0]:.2f}")
    axis.set(xlabel="steps", ylabel="error")
    axis.legend(fontsize=8)
    plt.show()

# %% [markdown]
# ## 2.2 Adjoint gradients (1.25 points)
#
# Reading: Chen et al. 2018, section 2 and appendix B. Backpropagation through a solver stores every stage of every step. The adjoint method stores nothing but the end. Let $L$ be a loss of $x(t_1)$, and $a(t) = \partial L/\partial x(t)$. Then
#
# $$ \frac{dx}{dt} = f, \qquad \frac{da}{dt} = -a^\top \frac{\partial f}{\partial x}, \qquad \frac{dg}{dt} = -a^\top \frac{\partial f}{\partial \theta}, $$
#
# and integrating the three **together** from $t_1$ to $t_0$, from $x(t_1)$, $a(t_1) = \partial L/\partial x(t_1)$ and $g(t_1) = 0$, ends in $a(t_0) = \partial L/\partial x(t_0)$ and $g(t_0) = \partial L/\partial\theta$, summed over the batch.
#
# `odeint_adjoint(module, x, t0, t1, n_steps)`, given, solves by `rk4` and differentiates by your `Adjoint`, a `torch.autograd.Function`: PyTorch calls `forward` with gradients off, and `backward` with the gradient of the result. **Integrate the triple by `n_steps` RK4 steps from $t_1$ back to $t_0$, starting from $x(t_1)$ alone.** This is *the gradient of the equation*,
# discretised on its own: with few steps it is not the gradient of the discrete solution that backpropagation gives. *Worked numbers.* $f = \theta x$, $\theta = x = 1$, one step, $L = x(1)$: $\partial/\partial x = 2.70833$ and $\partial/\partial\theta = 2.62370$; backpropagation through RK4 gives 2.66667 for the latter, and the truth is $e$.
#
# <details><summary>Hint</summary>Flatten the triple into one vector and give it to `rk4`, with a field that unpacks it, opens `torch.enable_grad()`, calls the module on a detached point and asks `torch.autograd.grad(slope, [point, *parameters], adjoint, allow_unused=True)`. A parameter that is not used has the gradient None: put zeros in its place.</details>
#
# <details><summary>Hint: what backward returns</summary>One entry for each argument of `forward`, in its order: None for `module`, `t0`, `t1`, `n_steps`.</details>
#
# **What is checked**
# - The value is that of RK4, and gradients with respect to `x` and to every parameter are those of the triple's RK4 steps, to 9 digits, for 1 to 4 steps, for fields that depend on time, from $t_0$ to a later or an earlier $t_1$, on vectors and images: for a parameter that is used twice and one that is not used (zero or None), and for any gradient of the result.
# - It works also if `x` asks for no gradient. Two solves through one module add up. `backward` returns its gradients and adds nothing to any `.grad` itself. `x` unchanged. (All parameters ask for gradients, and the field depends on `x`.)

# %% answer="adjoint-solution"
class Adjoint(torch.autograd.Function):
    """An RK4 solve whose gradients come from the adjoint equations, integrated backwards from its end."""

    @staticmethod
    def forward(ctx, module, x, t0, t1, n_steps, *parameters):
        ### BEGIN SOLUTION
        end = rk4(module, x, t0, t1, n_steps)
        ctx.module, ctx.times = module, (t0, t1, n_steps)
        ctx.save_for_backward(end)
        return end
        ### END SOLUTION

    @staticmethod
    def backward(ctx, grad):
        ### BEGIN SOLUTION
        (end,), module, (t0, t1, n_steps) = ctx.saved_tensors, ctx.module, ctx.times
        wanted = [p for p in module.parameters() if p.requires_grad]
        sizes = [end.numel(), end.numel(), *(p.numel() for p in wanted)]

        def triple(t, state):
            point, adjoint = (part.view_as(end) for part in state.split(sizes)[:2])
            with torch.set_grad_enabled(True):
                point = point.detach().requires_grad_()
                slope = module(t, point)
                products = torch.autograd.grad(slope, [point, *wanted], adjoint, allow_unused=True, materialize_grads=True)
            return torch.cat([slope.detach().flatten(), *(-product.flatten() for product in products)])

        start = torch.cat([end.flatten(), grad.flatten(), end.new_zeros(sum(sizes[2:]))])
        _, a, *by_parameter = rk4(triple, start, t1, t0, n_steps).split(sizes)
        found = iter(by_parameter)
        return None, a.view_as(end), None, None, None, *(next(found).view_as(p) if p.requires_grad else None for p in module.parameters())
        ### END SOLUTION


def odeint_adjoint(module, x, t0, t1, n_steps):
    """x (B, *) at t1 of dx/dt = module(t, x), by RK4; gradients by the adjoint method."""
    return Adjoint.apply(module, x, t0, t1, n_steps, *module.parameters())


# %% graded="adjoint" points=1.25
check("adjoint")

# %% [markdown]
# Two gradients of the same solve, by the adjoint method and by backpropagation, for $f = \theta x$. Each has its own error, and both fall by 16 when the steps are halved.

# %%
with when_written():
    class Growth(nn.Module):
        def __init__(self):
            super().__init__()
            self.theta = nn.Parameter(torch.ones((), dtype=torch.float64))

        def forward(self, t, x):
            return self.theta * x

    print(" steps   adjoint's error   backpropagation's error")
    for n in (1, 2, 4, 8, 16):
        row = []
        for solve in (odeint_adjoint, rk4):
            module = Growth()
            solve(module, torch.ones(1, 1, dtype=torch.float64), 0.0, 1.0, n).sum().backward()
            row.append(float(module.theta.grad) - math.e)
        print(f"{n:6d} {row[0]:17.2e} {row[1]:25.2e}")

# %% [markdown]
# ## 2.3 Traces, and the likelihood of a continuous flow (0.75 points)
#
# Reading: Chen et al. 2018, section 4; Grathwohl et al. 2019, section 3. (Flow time.) Along a flow $d \ln p(x(t))/dt = -\operatorname{tr} \frac{\partial f}{\partial x}$. With base $\mathcal N(0, I)$ at $t = 0$ and data at $t = 1$,
#
# $$ \ln p(x) = \ln \mathcal N(x(0); 0, I) - \int_0^1 \operatorname{tr} \frac{\partial f}{\partial x}\big(t, x(t)\big)\, dt, \qquad x(1) = x. $$
#
# - `exact_trace(f, t, x)` → `(f(t, x), trace)`, the trace `(B,)`, for x `(B, D)`: one derivative a dimension.
# - `hutchinson(f, t, x, noise)` → `(f(t, x), estimate)`: $\varepsilon^\top J \varepsilon$ `(B,)` for the **given** noise of x's shape, also on images: one derivative in all. If $\mathbb E\, \varepsilon \varepsilon^\top = I$, its mean is the trace.
# - `cnf_log_prob(f, x, n_steps, noise=None)` → `(B,)`: point and integral of the trace in **one** RK4 solve backwards; the exact trace without noise, else the given noise during the whole solve.
#
# All three can be differentiated with respect to x and to the parameters of `f`, so a flow can be trained by its likelihood, and they work under `torch.no_grad()` too. *Worked numbers.* $f = x/2$ in one dimension, $x = 1$: $x(0) = 0.6065$ and $\ln p = -1.6029$.
#
# <details><summary>Hint</summary>`torch.autograd.grad(v[:, i].sum(), x, create_graph=True)[0][:, i]` is entry $(i, i)$ of every sample's Jacobian: rows do not mix. Open `torch.enable_grad()`; x may or may not ask for a gradient already. For the solve, append a column to the flattened x.</details>
#
# **What is checked**
# - `exact_trace` for D = 1, 2, 3, with Jacobians that are not symmetric and differ from sample to sample; `hutchinson` for any noise on vectors and images. Each also returns the field.
# - `cnf_log_prob`: exact for linear fields, with and without noise; a nonlinear field integrates to 1 over the plane (thousands of points in one call, so loop over dimensions, not over samples); for a small network the exact result of 2 RK4 steps, with its gradients with respect to x and the parameters, with and without noise, images with noise; the same under `no_grad`; x unchanged; float32 stays float32.

# %% answer="cnf-solution"
def exact_trace(f, t, x):
    """f(t, x) (B, D) and the trace of its Jacobian (B,)."""
    ### BEGIN SOLUTION
    with torch.set_grad_enabled(True):
        x = x if x.requires_grad else x.detach().requires_grad_()
        v = f(t, x)
        slopes = [torch.autograd.grad(v[:, i].sum(), x, create_graph=True)[0][:, i] for i in range(x.shape[1])]
    return v, torch.stack(slopes).sum(0)
    ### END SOLUTION


def hutchinson(f, t, x, noise):
    """f(t, x) (B, *) and noiseᵀ J noise (B,), for noise of x's shape."""
    ### BEGIN SOLUTION
    with torch.set_grad_enabled(True):
        x = x if x.requires_grad else x.detach().requires_grad_()
        v = f(t, x)
        product = torch.autograd.grad(v, x, noise, create_graph=True)[0]
    return v, (product * noise).flatten(1).sum(1)
    ### END SOLUTION


def cnf_log_prob(f, x, n_steps, noise=None):
    """ln p(x) (B,) of the flow of f from N(0, I) at t = 0 to x (B, *) at t = 1."""
    ### BEGIN SOLUTION
    def both(t, state):
        point = state[:, :-1].reshape(x.shape)
        v, trace = exact_trace(f, t, point) if noise is None else hutchinson(f, t, point, noise)
        slope = torch.cat([v.flatten(1), trace[:, None]], 1)
        return slope if differentiable else slope.detach()

    differentiable = torch.is_grad_enabled()
    state = torch.cat([x.flatten(1), x.new_zeros(len(x), 1)], 1)
    end = rk4(both, state, 1.0, 0.0, n_steps)
    z, change = end[:, :-1], end[:, -1]  # the integral from 1 to 0 is minus that from 0 to 1
    return change - 0.5 * (z.square() + math.log(2 * math.pi)).sum(1)
    ### END SOLUTION


# %% graded="cnf" points=0.75
check("cnf")

# %% [markdown]
# The density of a swirling flow, and how much a single Hutchinson estimate varies: Gaussian noise, and signs $\pm 1$ (Rademacher), which do not see the diagonal and so vary less.

# %%
with when_written():
    A = torch.tensor([[0.9, -1.2], [1.0, 0.4]])
    swirl = lambda t, x: torch.tanh(x @ A.T + t) @ A.T
    side = torch.linspace(-6, 6, 80)
    grid = torch.cartesian_prod(side, side)
    density = cnf_log_prob(swirl, grid, 20).detach().exp()
    figure, axes = plt.subplots(1, 2, figsize=(8, 2.8))
    axes[0].imshow(density.reshape(80, 80).T, origin="lower", extent=(-6, 6, -6, 6), cmap="viridis")
    axes[0].set(title=f"a density with integral {float(density.sum()) * float(side[1] - side[0]) ** 2:.4f}")
    torch.manual_seed(0)
    point, noise = torch.tensor([[0.5, 1.0]]).expand(2000, 2), torch.randn(2000, 2)
    for name, drawn in {"Gaussian": noise, "Rademacher": noise.sign()}.items():
        values = hutchinson(swirl, 0.5, point, drawn)[1].detach()
        axes[1].hist(values.numpy(), bins=50, alpha=0.6, label=f"{name}: deviation {values.std():.2f}")
    axes[1].axvline(float(exact_trace(swirl, 0.5, point[:1])[1]), color="black", linestyle=":")
    axes[1].legend(fontsize=8)
    axes[1].set(title="2000 estimates of one trace", ylim=(0, 400))
    plt.show()

# %% [markdown]
# ## 2.4 VP and VE: coefficients, kernels, forward steps (1 point)
#
# Reading: Song et al. 2021, section 3.4. (SDE time: 0 is data.) Both SDEs are linear, so $x_t$ given $x_0$ is Gaussian with mean `mean_factor` $\cdot\, x_0$ and deviation `std`.
#
# | | equation | `mean_factor` | `std`² |
# |---|---|---|---|
# | VP | $dx = -\frac12 \beta(t)\, x\, dt + \sqrt{\beta(t)}\, dw$ | $e^{-\frac12 \int_0^t \beta}$ | $1 - e^{-\int_0^t \beta}$ |
# | VE | $dx = g(t)\, dw$, with $g^2 = \frac{d \sigma^2}{dt}$ and $\sigma(t) = \sigma_{\min} \big(\frac{\sigma_{\max}}{\sigma_{\min}}\big)^t$ | 1 | $\sigma(t)^2 - \sigma_{\min}^2$ |
#
# (Many papers drop $\sigma_{\min}^2$; then $x_t$ at $t = 0$ is not the data.) One Euler–Maruyama step *forwards* adds drift $\cdot\, dt$ and $g \sqrt{dt} \cdot$ `noise`, read at the step's start. *Worked numbers* at $t = \frac12$: $\beta$ from 0.1 to 20 gives $(10.05, 0.2812, 0.9597)$; $\sigma$ from 0.1 to 5 gives $(1.9779, 1, 0.7000)$.
#
# <details><summary>Hint</summary>Find $\int_0^t \beta$ and $d\sigma^2/dt$ on paper; the latter has a logarithm in it. `column(t, x)` shapes what belongs to a sample.</details>
#
# **What is checked**
# - `vp_coefficients` and `ve_coefficients` for $t$ a number and of shape `(B,)`, float64, between 0 and 1: tuples of three of $t$'s shape, exact at $t = 0$ too.
# - `vp_step` and `ve_step`: exact, for $t$ a number and of shape `(B,)`, on vectors and on images with as many samples as columns; arguments unchanged; float32 stays float32.

# %% answer="sde-marginals-solution"
def vp_coefficients(t, beta_min, beta_max):
    """(beta, mean_factor, std) of the VP SDE at t, a number or (B,); each of t's shape."""
    ### BEGIN SOLUTION
    t = t if isinstance(t, torch.Tensor) else torch.tensor(t, dtype=torch.float64)
    beta = beta_min + t * (beta_max - beta_min)
    total = beta_min * t + 0.5 * (beta_max - beta_min) * t**2
    return beta, (-0.5 * total).exp(), (-torch.expm1(-total)).sqrt()
    ### END SOLUTION


def ve_coefficients(t, sigma_min, sigma_max):
    """(g, mean_factor, std) of the VE SDE at t, a number or (B,); each of t's shape."""
    ### BEGIN SOLUTION
    t = t if isinstance(t, torch.Tensor) else torch.tensor(t, dtype=torch.float64)
    ratio = math.log(sigma_max / sigma_min)
    sigma = sigma_min * (t * ratio).exp()
    return sigma * math.sqrt(2 * ratio), torch.ones_like(t), sigma_min * torch.expm1(2 * t * ratio).sqrt()
    ### END SOLUTION


def vp_step(x, t, dt, noise, beta_min, beta_max):
    """x (B, *) after one Euler–Maruyama step of the VP SDE from t to t + dt; t a number or (B,)."""
    ### BEGIN SOLUTION
    beta, _, _ = vp_coefficients(t, beta_min, beta_max)
    beta = column(beta, x)
    return x - 0.5 * beta * x * dt + (beta * dt).sqrt() * noise
    ### END SOLUTION


def ve_step(x, t, dt, noise, sigma_min, sigma_max):
    """The same of the VE SDE."""
    ### BEGIN SOLUTION
    g, _, _ = ve_coefficients(t, sigma_min, sigma_max)
    g = column(g, x)
    return x + g * math.sqrt(dt) * noise
    ### END SOLUTION


# %% graded="sde-marginals" points=1
check("sde-marginals")

# %% [markdown]
# ## 2.5 Backwards in time, with any amount of noise (0.75 points)
#
# Reading: Song et al. 2021, section 3.3. (SDE time.) By 1.1, for each $\lambda \ge 0$ there is a way back with the same densities. One step from $t$ to $t - dt$, with $dt > 0$, the score $s(x, t)$ and everything read at the step's start:
#
# $$ x \leftarrow x - \Big( {-\tfrac12} \beta\, x - \tfrac12 (1 + \lambda^2)\, \beta\, s(x, t) \Big)\, dt + \lambda \sqrt{\beta\, dt}\; \text{noise}. $$
#
# `reverse_sample` makes `n_steps` such steps from $x$ at $t = 1$ to $t = 0$, with fresh noise in **every** step, the last one too. *Worked numbers.* $x = t = 1$, $\beta$ from 1 to 6, $dt = 0.1$, $s = -1$, no noise: 1.0 for $\lambda = 0$ and 0.7 for $\lambda = 1$. Data $\mathcal N(1.5, 0.5^2)$, $\beta$ from 1 to 6, 8 steps from $\mathcal N(0, 1)$: mean 1.5236 and deviation 0.5938 for $\lambda = 1$; 1.4514 and 0.5442 for $\lambda = \frac12$.
#
# <details><summary>Hint</summary>The score wants a time for each sample: `torch.full((len(x),), t, dtype=x.dtype)`. Which times does a sampler of $n$ steps read? Not 0.</details>
#
# **What is checked**
# - `reverse_step`: exact at $\lambda$ = 0, ½ and 1, vectors and images; arguments unchanged; float32 stays float32.
# - `reverse_sample`: each step and its noise; the times that the score is shown, one a sample; the law of the result; with $\lambda = 0$ the same result in every call, also for a score that is a network; what the conventions say of samplers.

# %% answer="reverse-sde-solution"
def reverse_step(x, t, dt, noise, score, beta_min, beta_max, lam=1.0):
    """x (B, *) after one step back from t to t - dt; t, dt and lam are numbers."""
    ### BEGIN SOLUTION
    beta = beta_min + t * (beta_max - beta_min)
    times = torch.full((len(x),), t, dtype=x.dtype)
    drift = -0.5 * beta * (x + (1 + lam**2) * score(x, times))
    return x - drift * dt + lam * math.sqrt(beta * dt) * noise
    ### END SOLUTION


def reverse_sample(x, score, beta_min, beta_max, n_steps, lam=1.0):
    """x (B, *) from t = 1 to t = 0 by n_steps steps back."""
    ### BEGIN SOLUTION
    dt = 1 / n_steps
    with torch.no_grad():
        for i in range(n_steps):
            x = reverse_step(x, 1 - i * dt, dt, torch.randn_like(x), score, beta_min, beta_max, lam)
    return x
    ### END SOLUTION


# %% graded="reverse-sde" points=0.75
check("reverse-sde")

# %% [markdown]
# ## 2.6 Probability-flow ODE and its likelihood (0.75 points)
#
# Reading: Song et al. 2021, section 4.3 and appendix D. (SDE time.) With $\lambda = 0$ nothing is random: by 1.1 the field of the VP SDE is
#
# $$ v(t, x) = -\tfrac12 \beta(t)\, \big( x + s(x, t) \big), \qquad \ln p_0(x) = \ln p_1\big(x(1)\big) + \int_0^1 \nabla \cdot v\big(t, x(t)\big)\, dt, \quad x(0) = x. $$
#
# - `probability_flow(score, beta_min, beta_max)` → a field `f(t, x)`.
# - `pf_log_prob(score, x, beta_min, beta_max, n_steps, base_log_prob)` → `(B,)`: RK4 from 0 to 1 with the exact divergence, x `(B, D)`. **The base is an argument,** the log-density of $x(1)$, `(B, *)` to `(B,)`.
#
# Why an argument? $p_1$ is only *nearly* $\mathcal N(0, I)$: for data $\mathcal N(1.5, 0.5^2)$ and $\beta$ from 0.1 to 20 a right program with that base is off by 0.04 nats four deviations from the mean, for every number of steps, and with $\beta$ from 0.1 to 4 by 2 nats. *Worked number.* Data $\mathcal N(0, \frac14)$, $\beta$ from 0.1 to 20, $t = \frac12$, $x = 1$: the velocity is 0.3168.
#
# <details><summary>Hint</summary>`exact_trace` of 2.3 takes your field as it is. If a likelihood is off by 0.04 and no number of steps helps, it is the base, not your code.</details>
#
# **What is checked**
# - `probability_flow`: exact, $t$ a number or a tensor without dimensions, vectors and images; Euler's method along it backwards; float32 stays float32.
# - `pf_log_prob`: the exact density of Gaussian data in one and two dimensions on two schedules with its exact base, and with another base, which has to be used; for a score that is a small network the exact result of 2 RK4 steps; x unchanged.

# %% answer="probability-flow-solution"
def probability_flow(score, beta_min, beta_max):
    """The field f(t, x) of the probability-flow ODE of the VP SDE."""
    ### BEGIN SOLUTION
    def f(t, x):
        beta = beta_min + t * (beta_max - beta_min)
        times = torch.as_tensor(t, dtype=x.dtype).expand(len(x))
        return -0.5 * beta * (x + score(x, times))

    return f
    ### END SOLUTION


def pf_log_prob(score, x, beta_min, beta_max, n_steps, base_log_prob):
    """ln p_0(x) (B,) for x (B, D): the log-density at x(1), and the integral of the divergence."""
    ### BEGIN SOLUTION
    f = probability_flow(score, beta_min, beta_max)

    def both(t, state):
        v, trace = exact_trace(f, t, state[:, :-1])
        return torch.cat([v, trace[:, None]], 1)

    state = torch.cat([x, x.new_zeros(len(x), 1)], 1)
    end = rk4(both, state, 0.0, 1.0, n_steps)
    return base_log_prob(end[:, :-1]) + end[:, -1]
    ### END SOLUTION


# %% graded="probability-flow" points=0.75
check("probability-flow")

# %% [markdown]
# **Rough and smooth.** Twenty paths back from the same noise, with $\lambda = 1$ and with $\lambda = 0$, for data that are two narrow Gaussians. The paths differ, the histograms at the end agree.

# %%
def two_clumps(x, t):
    """The exact score of data 0.4 N(-1.5, 0.3²) + 0.6 N(1, 0.3²) under the VP SDE with β from 0.1 to 12."""
    _, a, std = vp_coefficients(column(t, x), 0.1, 12.0)
    away = torch.cat([-1.5 * a - x, a - x], 1)
    spread = (0.3 * a) ** 2 + std**2
    share = (torch.log(torch.tensor([0.4, 0.6])) - away**2 / (2 * spread)).softmax(1)
    return (share * away / spread).sum(1, keepdim=True)


with when_written():
    torch.manual_seed(0)
    x_T = torch.randn(4000, 1)
    figure, axes = plt.subplots(1, 3, figsize=(12, 2.6))
    for axis, lam in zip(axes, (1.0, 0.0)):
        path = [x_T]
        for i in range(200):
            path.append(reverse_step(path[-1], 1 - i / 200, 1 / 200, torch.randn_like(x_T), two_clumps, 0.1, 12.0, lam))
        axis.plot(torch.linspace(1, 0, 201), torch.cat(path, 1)[:20].T, color="tab:blue", linewidth=0.5)
        axis.invert_xaxis()
        axis.set(title=f"λ = {lam:g}", xlabel="t")
        axes[2].hist(path[-1].flatten().numpy(), bins=80, density=True, alpha=0.5, label=f"λ = {lam:g}")
    axes[2].legend(fontsize=8)
    axes[2].set(title="at t = 0")
    plt.show()

# %% [markdown]
# ## 2.7 Flow matching: path, target, loss (1 point)
#
# Reading: Lipman et al. 2023, sections 3, 4. (Flow time: 0 is noise.) Nobody has to know the field. Draw noise $x_0$, a datum $x_1$ and $t \sim U[0, 1]$; go to $x_t = (1 - t)\, x_0 + t\, x_1$; regress on the **target** $x_1 - x_0$. The best regressor is $\mathbb E[x_1 - x_0 \mid x_t] = u$.
#
# - `fm_path(x_0, x_1, t)` → `(x_t, target)`, $t$ of shape `(B,)`.
# - `fm_loss(model, x_1, x_0=None)`: the mean over batch and dimensions of $(\text{model}(x_t, t) - \text{target})^2$. $x_0$ is standard normal unless it is given; then row $b$ of it belongs to row $b$ of $x_1$. One $t$ for each sample. The model is called **once**, with row $b$ made from row $b$ of the data.
#
# *Worked numbers.* $x_0 = 1$, $x_1 = 3$, $t = \frac14$: $x_t = 1.5$, target 2; a model that answers 3 has loss 1.
#
# <details><summary>Hint</summary>`column(t, x)`, and `torch.rand(len(x_1), dtype=x_1.dtype)`.</details>
#
# **What is checked**
# - `fm_path`: exact, on vectors and images, with as many samples as columns, 0 and 1 among the times.
# - `fm_loss`: the exact value at the points and times that the model saw, for several models; times one a sample and uniform on [0, 1] (independent or stratified), in the dtype of x; noise that is normal and fresh in every call, or the given $x_0$ row by row; a gradient reaches the model; with the exact velocity its mean is the floor of 1.3; arguments unchanged; float32 stays float32.

# %% answer="fm-loss-solution"
def fm_path(x_0, x_1, t):
    """The point x_t between noise x_0 and data x_1 (B, *) at t (B,), and the target of the velocity there."""
    ### BEGIN SOLUTION
    t = column(t, x_1)
    x_t = (1 - t) * x_0 + t * x_1
    return x_t, x_1 - x_0
    ### END SOLUTION


def fm_loss(model, x_1, x_0=None):
    """The flow matching loss of model(x, t) on data x_1 (B, *), with noise x_0 drawn unless given."""
    ### BEGIN SOLUTION
    if x_0 is None:
        x_0 = torch.randn_like(x_1)
    t = torch.rand(len(x_1), dtype=x_1.dtype)
    x_t, target = fm_path(x_0, x_1, t)
    return (model(x_t, t) - target).square().mean()
    ### END SOLUTION


# %% graded="fm-loss" points=1
check("fm-loss")

# %% [markdown]
# ## 2.8 Sampling; velocity and score (1 point)
#
# (Flow time.) `fm_sample(model, x_0, n_steps)` follows the model by Euler's method from $t = 0$ to 1. And a velocity *is* a score: all you need is $u = \mathbb E[x_1 - x_0 \mid x_t]$ and $s = \nabla \ln p_t = -\mathbb E[x_0 \mid x_t]/(1 - t)$. Derive the link in both directions:
#
# - `velocity_to_score(v, x, t)` for $t < 1$, and its inverse `score_to_velocity(s, x, t)` for $t > 0$; $t$ a number or `(B,)`.
#
# *Worked numbers.* $v = -1.2$ at $x = 1$, $t = \frac12$: the score is $-3.2$. The deviations of 1.2 are what `fm_sample` gives with 1, 2, 4, 10, 100 steps.
#
# <details><summary>Hint</summary>$x_t$ and $u$ are two linear combinations of $\mathbb E[x_0 \mid x_t]$ and $\mathbb E[x_1 \mid x_t]$: eliminate the latter. Near $t = 1$ nothing blows up for the velocity, everything does for the score.</details>
#
# **What is checked**
# - `fm_sample`: the exact Euler recursion row by row for 1, 2, 4 and more steps, vectors and images; the times that the model is shown, one a sample; what the conventions say of samplers; float32 stays float32.
# - `velocity_to_score` and `score_to_velocity` on Gaussians with full covariance, $t$ a number or `(B,)`, from 0.001 to 0.999, as many samples as columns.

# %% answer="fm-sample-solution"
def fm_sample(model, x_0, n_steps):
    """Data (B, *) from noise x_0 (B, *) by n_steps Euler steps along model(x, t)."""
    ### BEGIN SOLUTION
    f = field(model)
    with torch.no_grad():
        return euler(f, x_0, 0.0, 1.0, n_steps)
    ### END SOLUTION


def velocity_to_score(v, x, t):
    """The score of p_t at x (B, *) from the velocity v (B, *); t a number or (B,), below 1."""
    ### BEGIN SOLUTION
    t = column(t, x)
    noise = x - t * v  # E[x_0 | x_t]
    return -noise / (1 - t)
    ### END SOLUTION


def score_to_velocity(s, x, t):
    """The velocity at x (B, *) from the score s (B, *) of p_t; t a number or (B,), above 0."""
    ### BEGIN SOLUTION
    t = column(t, x)
    noise = -(1 - t) * s  # E[x_0 | x_t]
    return (x - noise) / t
    ### END SOLUTION


# %% graded="fm-sample" points=1
check("fm-sample")

# %% [markdown]
# ## 2.9 Minibatch optimal transport (0.75 points)
#
# Reading: Tong et al. 2024, section 3. Independent pairs cross each other, and where paths cross the field must average. Pair the noise and the data of a batch so that the pairs are short:
#
# - `ot_pairing(x_0, x_1)` → a permutation $\pi$, long, `(B,)`, that minimises $\sum_i \lVert x_0[i] - x_1[\pi_i] \rVert^2$. `linear_sum_assignment` of SciPy is imported above.
# - `ot_fm_batch(x_0, x_1, y)` → `(x_0, x_1, y)`: noise in its order, data and their labels `(B,)` moved **together**.
#
# *Worked number.* $x_0 = 0, 1, 2$ and $x_1 = 5, 3, 4$: $\pi = (1, 2, 0)$, cost 27.
#
# <details><summary>Hint</summary>The squared distances of flattened samples in float64 (in float32 `torch.cdist` of many points is not exact); SciPy returns two arrays, rows in order and their columns. Is the answer $\pi$ or its inverse? A swap cannot tell, three points can.</details>
#
# **What is checked**
# - `ot_pairing`: a permutation of dtype long with the least cost, for 1 to 64 points on a line, in the plane, and for images; ties any way.
# - `ot_fm_batch`: noise in its order, data optimally paired, labels with their data; arguments unchanged.

# %% answer="ot-solution"
def ot_pairing(x_0, x_1):
    """The permutation (B,) of x_1 (B, *) that makes the pairs with x_0 (B, *) shortest, in the sum of squares."""
    ### BEGIN SOLUTION
    apart = x_0.flatten(1)[:, None] - x_1.flatten(1)[None]
    cost = apart.square().sum(2)
    _, columns = linear_sum_assignment(cost.detach().numpy())
    return torch.as_tensor(columns)
    ### END SOLUTION


def ot_fm_batch(x_0, x_1, y):
    """Noise x_0 (B, *), and data x_1 (B, *) with their labels y (B,) in the order of the best pairs."""
    ### BEGIN SOLUTION
    order = ot_pairing(x_0, x_1)
    x_1, y = x_1[order], y[order]
    return x_0, x_1, y
    ### END SOLUTION


# %% graded="ot" points=0.75
check("ot")

# %% [markdown]
# ## 2.10 Reflow and straightness (1 point)
#
# Reading: Liu et al. 2023, sections 2.1, 2.2. Paths of a flow do not cross. So pair each noise with *its own end* under a trained flow, and train a new flow on these pairs: its paths are nearly straight, and one step nearly suffices.
#
# - `reflow_pairs(model, x_0, n_steps)` → `(x_0, x_1)`: the noise **as given**, and where $n$ Euler steps take it.
# - `straightness(model, x_0, n_steps)` → a number: along the Euler path of $n$ steps, the mean over samples and steps of $\lVert (x_1 - x_0) - v(x_{t_i}, t_i) \rVert^2$, summed over dimensions. It is 0 if and only if the velocity never changes along a path.
#
# *Worked numbers.* $m = 0$, $s = \frac12$, two steps from $x_0 = 1$: $x_1 = 0.2$, straightness 0.04. On average over $x_0$: 0.0400, 0.1172, 0.1698, 0.2096 for 2, 4, 10, 100 steps, towards the $s\,(2 - \frac\pi2) = 0.2146$ of 1.3.
#
# <details><summary>Hint</summary>$x_1 - x_0$ is known only at the end: keep the velocities of the steps. With one step the straightness is 0 whatever the model is. Keep the noise you started from.</details>
#
# **What is checked**
# - `reflow_pairs`: the noise that was given, row by row, and its exact end; what the conventions say of samplers.
# - `straightness`: exact, for 1 and more steps, for constant fields and for Gaussian ones, vectors and images; a float or a tensor without dimensions and without graph; the model's mode and gradients, and `x_0`, stay as they were.

# %% answer="reflow-solution"
def reflow_pairs(model, x_0, n_steps):
    """Noise x_0 (B, *) as given, and where n_steps Euler steps along model(x, t) take it."""
    ### BEGIN SOLUTION
    model_field = field(model)
    with torch.no_grad():
        x_1 = euler(model_field, x_0, 0.0, 1.0, n_steps)
    return x_0, x_1
    ### END SOLUTION


def straightness(model, x_0, n_steps):
    """Mean squared distance between velocity and total displacement along Euler paths from x_0 (B, *)."""
    ### BEGIN SOLUTION
    x, velocities = x_0, []
    with torch.no_grad():
        for i in range(n_steps):
            velocities.append(field(model)(i / n_steps, x))
            x = x + velocities[-1] / n_steps
    off = (x - x_0) - torch.stack(velocities)  # (n, B, *)
    return off.flatten(2).square().sum(2).mean()
    ### END SOLUTION


# %% graded="reflow" points=1
check("reflow")

# %% [markdown]
# # Part 3. Trained flows (2 points)
#
# Cells tagged `train` run only when the model is graded, with up to 120 seconds each on one CPU core.
#
# **How a trained network is judged**, in evaluation mode and float32. How a network looks inside and how it is trained is yours; a mixture whose numbers are `nn.Parameter`s is a network too, if training teaches it. But a field of *known* data can be had without any training (a formula, a table of points), so the judge also asks by behaviour, and **without all of this no figure earns anything**:
#
# - A new network of `make_…()` knows nothing: its error is at least half of that of answering 0 (points), or 0.9 of that of single pixels (digits).
# - The judge trains a new network by a loop of their own (Adam, learning rate $10^{-3}$, mean squared error) on *another* law, and it learns that.
# - Weights and buffers hold all that the trained network knows: a new network that is given them answers the same, in any order of questions. Altering its parameter tensors one at a time moves the answers; tensors with at least 80 % of all numbers do. With new numbers in its largest tensors, 80 % of all, it no longer knows the law: its error is at least 0.15 of that of answering 0, or 0.9 of that of single pixels.
#
# ## 3.1 A ring (0.7 points)
#
# Eight round blobs on a circle of radius $r$ between 2.5 and 3.5, 45° apart and turned by some angle, with deviation $r/10$ and unequal weights. Its middle is empty, and there lies the mean. **When you are graded, the grader draws all these numbers anew**, hands over 20,000 points of that law as `ring_train`, and trains your network on them. At home everybody sees the same
# example.
#
# - `make_velocity()` → a new network `model(x, t)` for x `(B, 2)` and t `(B,)`: the velocity, `(B, 2)`.
# - `fit_fm(model, x_1, n_steps, x_0=None)` trains **whatever network it is given**, in place, by `n_steps` steps on random rows of `x_1`, and returns the list of losses. If `x_0` is given, rows of `x_0` and `x_1` are pairs and stay together. Batch size and learning rate are yours.
#
# *What to expect.* The figure is the mean squared distance, per entry, to the exact velocity. 3 layers of 128 units, 3000 steps of 256 points, some 5 seconds: 0.04. The best single Gaussian: 0.44–0.51. Answering 0: 2.2. The *loss* itself stays far above 0, see 1.3.
#
# <details><summary>Hint</summary>`torch.cat([x, t[:, None]], 1)` and SiLU suffice. Adam with OneCycleLR up to 3e-3 or 5e-3. Train in training mode and leave the network in evaluation mode.</details>
#
# **What is checked**
# - (0.2, in the notebook too) The figure of your trained network as a share of the single Gaussian's: in full up to 0.5, nothing from 0.9. Before that, 60 steps of training by the judge on another law lower the error of a new network by a fifth at least; shapes, rows do not mix, the answer depends on t.
# - (0.25) The figure itself, over $t$ = 0.025, 0.075, …, 0.975: in full up to 0.08, nothing from 0.25.
# - (0.25) `fit_fm` trains a small network of the judge's (two hidden layers of 64 units) and a new one of yours for 600 steps on five blobs: of the mean squared distance to the exact velocity at most 0.6 of that of answering 0 may remain. It shows the network one time a sample, uniform. The losses come back as a list of `n_steps` numbers. **Without this line the one before earns nothing.**

# %%
from autograder import course_data

ring_train = course_data("ring")["ring_train"]  # (20000, 2)

figure, axes = plt.subplots(figsize=(3.2, 3.2))
axes.scatter(*ring_train[:3000].T, s=2)
axes.set(title="3000 points of ring_train", xlim=(-5, 5), ylim=(-5, 5))
plt.show()

# %% answer="train-ring-solution"
class Velocity(nn.Module):
    """The velocity of points in the plane."""

    def __init__(self, width=128):
        super().__init__()
        ### BEGIN SOLUTION
        self.net = nn.Sequential(
            nn.Linear(3, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(),
            nn.Linear(width, width), nn.SiLU(), nn.Linear(width, 2),
        )
        ### END SOLUTION

    def forward(self, x, t):
        ### BEGIN SOLUTION
        time = t[:, None]
        known = torch.cat([x, time], 1)
        return self.net(known)
        ### END SOLUTION


def make_velocity():
    """A new, untrained network for points in the plane; choose its sizes."""
    return Velocity()


def fit_fm(model, x_1, n_steps, x_0=None):
    """Train any model(x, t) in place on random rows of x_1, paired with those of x_0 if given; the list of losses."""
    ### BEGIN SOLUTION
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=3e-3, total_steps=n_steps)
    losses = []
    model.train()
    for _ in range(n_steps):
        rows = torch.randint(len(x_1), (256 if x_1.shape[1] == 2 else 128,))
        loss = fm_loss(model, x_1[rows], None if x_0 is None else x_0[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
    model.eval()
    return losses
    ### END SOLUTION


# %% answer="train-ring-run" tags=["train", "train:ring", "train:few"]
# Bind the trained network to `ring_model` and the list of losses to `ring_losses`.
with when_written():
    ### BEGIN SOLUTION
    ring_model = make_velocity()
    ring_losses = fit_fm(ring_model, ring_train, n_steps=3000)
    torch.manual_seed(0)
    ### END SOLUTION

# %% graded="train-ring" points=0.7
check("train-ring")

# %% [markdown]
# The field of your network at five times, and its loss beside the least loss that a *Gaussian* of the same covariance would allow: the ring's is smaller, as its law says more.

# %%
with when_written("ring_model", "ring_losses"):
    figure, axes = plt.subplots(1, 6, figsize=(16, 2.6))
    places = torch.cartesian_prod(torch.linspace(-4, 4, 17), torch.linspace(-4, 4, 17))
    for axis, t in zip(axes, (0.0, 0.25, 0.5, 0.75, 1.0)):
        with torch.no_grad():
            axis.quiver(*places.T, *field(ring_model)(t, places).T, color="tab:blue", width=0.005)
        axis.set(title=f"t = {t:g}", xticks=[], yticks=[])
    axes[5].plot(np.convolve(ring_losses, np.ones(50) / 50, "valid"))
    axes[5].axhline(float(fm_floor(torch.cov(ring_train.T))), color="black", linestyle=":")
    axes[5].set(xlabel="step", title="loss, mean of 50 steps")
    plt.show()

# %% [markdown]
# ## 3.2 The ring in one step (0.6 points)
#
# Train a second network of `make_velocity()`, bound to `ring_reflow`, that needs **one** Euler step: on reflow pairs of your `ring_model`, or on pairs that `ot_fm_batch` made of batches beforehand, whichever you like. It is judged by samples that the judge draws with Euler's method of their own from fresh noise:
#
# - *share*: how many samples lie within 3 deviations of a centre;
# - *least share*: of the eight blobs, the smallest ratio of a blob's share to its weight;
# - *spread*: root mean square distance to the centre of those inside, in units of the blobs' deviation; for data it is 1.38.
#
# | one step | share | least share | spread |
# |---|---|---|---|
# | `ring_model` | 0.00 | 0.00 | – |
# | after one reflow: 20,000 pairs of 50 steps, 2000 steps | 0.82 | 0.7 | 1.5 |
# | pairs by optimal transport, batches of 128, 2000 steps | 0.77 | 0.7 | 1.6 |
# | data | 0.99 | 0.95 | 1.38 |
#
# <details><summary>Hint</summary>`fit_fm(net, x_1, 2000, x_0=x_0)` with `reflow_pairs(ring_model, torch.randn(20000, 2), 50)`. If one step still lands in the middle, the noise of the pairs was drawn anew somewhere.</details>
#
# **What is checked**
# - (0.1, in the notebook too) The straightness of `ring_reflow` with 10 steps is at most 0.1; also walked backwards from data, from $t = 1$ to 0.1, it is nearly straight: at most 0.5. Its share after one step is at least 0.3, and the spread between 0.9 and 2.0. A new network learns, as in 3.1. (A network that makes its many steps within one call is not straight backwards. The figures below need this, too.)
# - (0.3) The share after one step: in full from 0.70, nothing up to 0.30. The spread is between 0.9 and 2.0: points sent to eight centres are no blobs.
# - (0.1) The least share is at least 0.4, with such a spread, and a share of at least 0.30.
# - (0.1) `fit_fm(net, x_1, 600, x_0=x_0)` on a small network of the judge's, with $x_1$ a rotation and shift of $x_0$: at $t = 0$ the velocity is nearer to that of the pairs than to that of independent pairs.

# %% answer="train-few-steps-run" tags=["train", "train:few"]
# Bind the second network to `ring_reflow`.
with when_written("ring_model"):
    ### BEGIN SOLUTION
    starts, ends = reflow_pairs(ring_model, torch.randn(20_000, 2), 50)
    ring_reflow = make_velocity()
    reflow_losses = fit_fm(ring_reflow, ends, n_steps=2000, x_0=starts)
    torch.manual_seed(0)
    ### END SOLUTION

# %% graded="train-few-steps" points=0.6
check("train-few-steps")

# %% [markdown]
# Samples with 1, 2, 4 and 50 steps before and after, and the paths of 60 points.

# %%
with when_written("ring_model", "ring_reflow"):
    torch.manual_seed(1)
    noise = torch.randn(1500, 2)
    figure, axes = plt.subplots(2, 5, figsize=(13, 5.4))
    for row, (name, model) in zip(axes, {"flow matching": ring_model, "straightened": ring_reflow}.items()):
        for axis, n in zip(row, (1, 2, 4, 50)):
            axis.scatter(*fm_sample(model, noise, n).T, s=2)
            axis.set(title=f"{name}, {n} step{'s' * (n > 1)}", xlim=(-5, 5), ylim=(-5, 5), xticks=[], yticks=[])
        path = torch.stack([noise[:60], *(euler(field(model), noise[:60], 0.0, k / 20, k).detach() for k in range(1, 21))], 1)
        for points in path:
            row[4].plot(*points.T, color="tab:blue", linewidth=0.6)
        row[4].set(title=f"straightness {float(straightness(model, noise, 20)):.3f}", xlim=(-5, 5), ylim=(-5, 5), xticks=[], yticks=[])
    figure.tight_layout()
    plt.show()

# %% [markdown]
# ## 3.3 Digits (0.7 points)
#
# Black and white digits of $8 \times 8$ pixels, as vectors of $-1$ and $+1$: `digits_train`, `(6000, 64)`. They were *drawn anew* from scikit-learn's digits (two of one writer morphed, then turned and shifted a little), and the grader draws the pictures it asks about in the same way from **other writers**; they lie in no file. `make_digits_velocity()` builds your whole network,
# `model(x, t)` for x `(B, 64)`, and your `fit_fm` trains it.
#
# **Let the network begin with what is known.** A pixel of the data is $-1$ or $+1$. What its own noisy value says about it needs no learning: at time $t$ the log-odds of $\mathcal N(x_t; +t, (1 - t)^2)$ against $\mathcal N(x_t; -t, (1 - t)^2)$ are $2 t\, x_t/(1 - t)^2$. What the *other* pixels say is to be learned, and adds to the log-odds. So
#
# $$ \hat x_1 = \tanh\Big( g_\theta(x_t, t) + \frac{t\, x_t}{(1 - t)^2} \Big), \qquad v = \frac{\hat x_1 - x_t}{1 - t}, $$
#
# where $g_\theta$ is any network: the expectation of a bit with log-odds $2\ell$ is $\tanh \ell$. Put `(1 - t).clamp_min(1e-3)` in the place of $1 - t$. A network that predicts the velocity without this line is as right, and after as many steps worse (table).
#
# *What to expect.* The figure is the mean squared error of the target $x_1 - x_0$ on held-out pictures, over $t$ = 0.02, 0.08, …, 0.92, divided by that of *each pixel taken by itself*, with its own frequency, on the same pictures and the same noise (about 0.62):
#
# | answer | figure |
# |---|---|
# | zero | 3.2 |
# | a new network with the line above | 1.8 |
# | one Gaussian (linear) | 1.51 |
# | a Gaussian a class | 1.40 |
# | a plain network, three residual blocks of 256 units, 1500 steps | 1.28 |
# | each pixel by itself | 1 |
# | mixtures of 20, 60, 120 pixel models, fitted by expectation maximisation | 0.87, 0.835, 0.83 |
# | **with the line above, three residual blocks of 256 units, 1000 steps of 128, some 8 seconds** | **0.816** |
# | a table of the 6,000 training pictures (a memoriser) | 6.3 |
#
# <details><summary>Hint</summary>$g$ sees the 64 numbers of $x_t$ and `time_features(t, 32)`; residual blocks h + W silu(V silu(h)); Adam with OneCycleLR up to 3e-3, batches of 128.</details>
#
# **What is checked**
# - (0.15, in the notebook too) A new network: shapes, rows do not mix, the answer depends on t, and 60 steps of training by the judge lower its error by a fifth at least.
# - (0.35) The figure above on 500 held-out pictures, asked together with training pictures: in full up to 0.835, nothing from 0.86, a straight line between. The figure of a new network is above 0.9, and 200 steps of training by the judge on pictures turned by 90° and inverted bring one to less than 0.8 of its first error.
# - (0.2, only if that figure is below 0.86) 200 pictures that the judge draws with 50 Euler steps, thresholded at 0: the mean grey is within 0.08 of the data's (of white), their mean squared distance from each other, and the number of different ones, are at least 80 % of those of real digits, and at most 30 % are nearer to a training picture than fresh digits are.

# %%
digits_train = course_data("digits")["digits_train"]  # (6000, 64), -1 and +1


def show_digits(axes, pictures, title="", columns=8):
    """Draw pictures (N, 64) with values from -1 to 1 as a grid."""
    framed = F.pad(pictures.float().reshape(-1, 8, 8), (1, 1, 1, 1), value=0.0)
    axes.imshow(torch.cat([torch.cat(list(row), 1) for row in framed.split(columns)]), cmap="gray", vmin=-1, vmax=1)
    axes.set_title(title, fontsize=10)
    axes.axis("off")


figure, axes = plt.subplots(figsize=(5, 2.6))
show_digits(axes, digits_train[:32], "digits_train", columns=16)
plt.show()

# %% answer="train-digits-solution"
class DigitsVelocity(nn.Module):
    """The velocity of pictures."""

    def __init__(self, width=256, depth=3):
        super().__init__()
        ### BEGIN SOLUTION
        block = lambda: nn.Sequential(nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
        self.enter = nn.Linear(64 + 32, width)
        self.blocks = nn.ModuleList([block() for _ in range(depth)])
        self.leave = nn.Linear(width, 64)
        ### END SOLUTION

    def forward(self, x, t):
        ### BEGIN SOLUTION
        h = self.enter(torch.cat([x, time_features(t, 32)], 1))
        for block in self.blocks:
            h = h + block(h)
        rest = (1 - t).clamp_min(1e-3)[:, None]
        data = torch.tanh(self.leave(F.silu(h)) + t[:, None] * x / rest**2)
        return (data - x) / rest
        ### END SOLUTION


def make_digits_velocity():
    """A new, untrained network for pictures (B, 64); choose its sizes."""
    return DigitsVelocity()


# %% answer="train-digits-run" tags=["train", "train:digits"]
# Bind the trained network to `digits_model` and the list of losses to `digits_losses`.
with when_written():
    ### BEGIN SOLUTION
    digits_model = make_digits_velocity()
    digits_losses = fit_fm(digits_model, digits_train, n_steps=1000)
    torch.manual_seed(0)
    ### END SOLUTION
    torch.save(digits_model.state_dict(), "digits_model.pt")

# %% graded="train-digits" points=0.7
check("train-digits")

# %% [markdown]
# From noise to digits in 50 steps, and in fewer; below the last, the nearest training picture to each.

# %%
with when_written("digits_model", "digits_losses"):
    torch.manual_seed(0)
    noise = torch.randn(24, 64)
    film = torch.cat([euler(field(digits_model), noise[:6], 0.0, k / 50, max(k, 1)).detach() for k in (0, 20, 30, 40, 45, 50)])
    figure, axes = plt.subplots(1, 5, figsize=(15, 2.8))
    show_digits(axes[0], film.clamp(-1, 1), "t = 0, 0.4, 0.6, 0.8, 0.9, 1 downwards", columns=6)
    for axis, n in zip(axes[1:4], (5, 15, 50)):
        pictures = fm_sample(digits_model, noise, n)
        show_digits(axis, pictures.clamp(-1, 1), f"{n} steps")
    nearest = torch.cdist(pictures, digits_train).argmin(1)
    show_digits(axes[4], digits_train[nearest], "nearest training picture")
    plt.show()

# %% [markdown]
# # All models on one axis
#
# | model | what is learned | calls of the network for a sample | a likelihood |
# |---|---|---|---|
# | continuous flow (2.3) | a field, by its likelihood | those of the solver | exact, by the trace |
# | score SDE (2.5) | $\nabla \ln p_t$ | hundreds | none |
# | probability flow (2.6) | the same network | tens | exact, by the trace |
# | flow matching (2.8) | the velocity of straight lines | tens | exact, by the trace |
# | with optimal transport (2.9) | the same of short pairs | a few | exact, by the trace |
# | reflow (2.10) | the same of its own ends | one or two | exact, by the trace |
# | DDPM (homework 5) | the noise | hundreds | a bound |
# | RealNVP (homework 2) | a bijection | 1 | exact |
# | PixelCNN (homework 1) | conditionals | $D$ | exact |
#
# The last picture asks the samplers of this homework for the same Gaussian, $\mathcal N(1.5, 0.5^2)$, with perfect networks, and shows how far their deviation is from the data's against the number of calls.

# %%
with when_written():
    torch.manual_seed(0)
    noise, counts = torch.randn(20_000, 1), (2, 4, 8, 16, 32, 64, 128)
    def vp_score(x, t):
        _, a, std = vp_coefficients(column(t, x), 0.1, 12.0)
        return (1.5 * a - x) / (0.25 * a**2 + std**2)
    velocity = lambda x, t: gaussian_velocity(x, t, torch.tensor([1.5]), torch.tensor([0.5]))
    found = {
        "reverse SDE": [reverse_sample(noise, vp_score, 0.1, 12.0, n) for n in counts],
        "probability flow": [euler(probability_flow(vp_score, 0.1, 12.0), noise, 1.0, 0.0, n) for n in counts],
        "flow matching": [fm_sample(velocity, noise, n) for n in counts],
    }
    figure, axis = plt.subplots(figsize=(6, 2.8))
    for name, runs in found.items():
        axis.semilogx(counts, [x.std().item() for x in runs], "o-", label=name)
    axis.axhline(0.5, color="black", linestyle=":", label="the data")
    axis.set(xlabel="calls of the network", ylabel="deviation of the samples", ylim=(0, 1))
    axis.legend(fontsize=8)
    plt.show()

# %% [markdown]
# **★ More, without points.** (1) Heun's method against Euler's at equal numbers of calls. (2) Flow matching with labels and guidance on the digits. (3) A second reflow: straighter, but what happens to the spread? (4) Train a continuous flow on the ring by its likelihood, with Hutchinson's trace, and compare the seconds. (5) The likelihood of `ring_model` by
# `cnf_log_prob(field(ring_model), …)`.
#
# **Glossary.** velocity = скорость · field = векторное поле · marginal = маргинальное распределение · coupling = каплинг, совместное распределение пары · trace = след · transport = перенос · drift = снос · solver = численный метод · adjoint = сопряжённая система · straightness = прямолинейность · law = распределение · held out = отложенная выборка · step = шаг ·
# likelihood = правдоподобие
#
# **Before you hand in:** restart the kernel, run everything, save. Hand in the notebook, and `digits_model.pt` beside it if you like: it is loaded into what `make_digits_velocity()` builds, and nothing is trained on digits. The ring is always trained anew.
